"""Within how many seconds of a fault's end each cell must be over: both windows are trained.

Twice the longest that any cell of the fault has taken, and 30 s, in tens; a minute at least.
``docs/reliability.md`` prints them beside what was measured, and a test compares the two.
"""

from __future__ import annotations

from acceptance.faults.strikes import (
    files,
    machine,
    messages,
    more_processes,
    postgres,
    processes,
    redis,
    rows,
)
from acceptance.faults.strikes.strike import Strike

WITHIN: dict[Strike, int] = {
    processes.cpu_worker_killed: 90,
    processes.cpu_child_killed: 90,
    processes.cpu_worker_stopped: 90,
    processes.gpu_worker_killed: 140,
    processes.gpu_child_killed: 160,
    processes.gpu_worker_stopped: 150,
    processes.gpu_worker_terminated: 120,
    processes.trainer_killed: 120,
    processes.beat_killed: 60,
    more_processes.gpu_worker_added: 90,
    more_processes.beats_added: 60,
    processes.trainer_frozen: 110,
    postgres.postgres_killed: 70,
    postgres.postgres_restarted: 80,
    postgres.postgres_connections_ended: 90,
    postgres.postgres_connections_ended_again: 60,
    postgres.postgres_connections_reset: 130,
    postgres.postgres_connections_dead: 130,
    postgres.postgres_frozen: 110,
    postgres.postgres_read_only: 80,
    postgres.pooler_killed: 60,
    postgres.postgres_read_only_beyond_leases: 60,
    postgres.postgres_disk_full: 90,
    postgres.postgres_ended_by_its_disk: 60,
    postgres.column_renamed: 60,
    redis.redis_killed: 90,
    redis.redis_emptied: 90,
    redis.redis_emptied_again: 60,
    redis.redis_full: 90,
    redis.redis_read_only: 60,
    redis.redis_frozen: 70,
    redis.redis_connections_dead: 160,
    messages.messages_repeated: 80,
    messages.garbage_sent: 100,
    rows.rows_late: 60,
    machine.data_folder_full: 60,
    machine.clock_ahead: 90,
    machine.clock_behind: 80,
    files.weights_damaged: 70,
    files.weights_missing: 60,
    files.weights_missing_unasked: 60,
    files.optimizer_damaged: 80,
    files.record_torn: 60,
    files.weights_cut_under_a_restart: 150,
    files.record_torn_under_a_restart: 90,
    files.data_folder_made_anew: 200,
    more_processes.data_folder_made_anew_beside_another: 80,
}

# Faults that leave the trainer alone: agents are answered from the fault's beginning on, without a
# longer pause. After any other they are answered again by the time that both windows are trained.
SILENCE_SECONDS = 30
ANSWERS_GO_ON: frozenset[Strike] = frozenset(
    {
        processes.cpu_worker_killed,
        processes.cpu_child_killed,
        processes.cpu_worker_stopped,
        processes.beat_killed,
        more_processes.beats_added,
        more_processes.gpu_worker_added,
        postgres.postgres_restarted,
        postgres.postgres_connections_ended,
        postgres.pooler_killed,
        postgres.column_renamed,
        redis.redis_killed,
        redis.redis_emptied,
        redis.redis_emptied_again,
        redis.redis_full,
        redis.redis_read_only,
        redis.redis_frozen,
        redis.redis_connections_dead,
        messages.messages_repeated,
        messages.garbage_sent,
        rows.rows_late,
        machine.clock_ahead,
        machine.clock_behind,
        files.weights_damaged,
        files.weights_missing,
        files.record_torn,
    }
)


def bound(longest: float) -> int:
    """The bound that follows from the longest time that was measured, in seconds."""
    return max(60, -int(-(2 * longest + 30) // 10) * 10)
