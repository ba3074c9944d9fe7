/* Preloaded: this process's wall clock is the machine's, moved by what OFFSET_FILE holds now.

   The monotonic clock stays: what waits for seconds waits for seconds. The file is mapped and
   shared, so all processes that preload this see the same moment and see it moved at once; no
   call here allocates or locks, so it may be read from a signal handler. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000LL

static const volatile int64_t *offset; /* nanoseconds */

static __typeof__(&sem_timedwait) next_sem_timedwait;
static __typeof__(&pthread_mutex_timedlock) next_pthread_mutex_timedlock;
static __typeof__(&pthread_cond_timedwait) next_pthread_cond_timedwait;

__attribute__((constructor)) static void prepare(void) {
    /* Now, since looking a name up takes a lock, which a forked child may find taken for ever. */
    next_sem_timedwait = dlsym(RTLD_NEXT, "sem_timedwait");
    next_pthread_mutex_timedlock = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    next_pthread_cond_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    int file = open(OFFSET_FILE, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) offset = mapped;
    close(file);
}

static void move(struct timespec *at, int64_t by) {
    int64_t moved = at->tv_sec * NANOSECONDS + at->tv_nsec + by;
    at->tv_sec = moved / NANOSECONDS;
    at->tv_nsec = moved % NANOSECONDS;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, which, now);
    if (!failed && offset && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        move(now, *offset);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec at;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &at)) return -1;
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (now) *now = at.tv_sec;
    return at.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

/* Until a moment by the wall clock: the kernel has to be told its own. A condition may count by
   the monotonic clock, which is far behind any date. */
static struct timespec by_the_kernel(const struct timespec *until) {
    struct timespec at = *until;
    if (!next_pthread_cond_timedwait) prepare(); /* asked by another library's constructor */
    if (offset && at.tv_sec > NANOSECONDS) move(&at, -*offset);
    return at;
}

int sem_timedwait(sem_t *restrict what, const struct timespec *restrict until) {
    struct timespec at = by_the_kernel(until);
    return next_sem_timedwait(what, &at);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict what, const struct timespec *restrict until) {
    struct timespec at = by_the_kernel(until);
    return next_pthread_mutex_timedlock(what, &at);
}

int pthread_cond_timedwait(pthread_cond_t *restrict what, pthread_mutex_t *restrict held,
                           const struct timespec *restrict until) {
    struct timespec at = by_the_kernel(until);
    return next_pthread_cond_timedwait(what, held, &at);
}
