"""The table of faults and the points at which each strikes: docs/reliability.md has it for readers.

Left out is what cannot differ: the death of a process that takes no part in what happens then.
"""

from __future__ import annotations

from typing import NamedTuple

from acceptance.faults import points
from acceptance.faults.kinds import (
    EVALUATING,
    ON_SMALL_DISK,
    OVER_TLS,
    PLAIN,
    POOLED,
    TWO_LINEAGES,
    Kind,
)
from acceptance.faults.points import Point
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

EVERYWHERE: tuple[Point, ...] = (
    points.idle,
    points.opening,
    points.scoring,
    points.planning,
    points.training,
    points.committing,
    points.promoting,
)
ON_THE_CPU_WORKER: tuple[Point, ...] = (points.idle, points.opening, points.scoring)
ON_THE_GPU_WORKER: tuple[Point, ...] = (
    points.idle,
    points.planning,
    points.training,
    points.committing,
    points.promoting,
)
STRUCK: dict[Strike, tuple[Point, ...]] = {
    processes.cpu_worker_killed: ON_THE_CPU_WORKER,
    processes.cpu_child_killed: ON_THE_CPU_WORKER,
    processes.cpu_worker_stopped: ON_THE_CPU_WORKER,
    processes.gpu_worker_killed: ON_THE_GPU_WORKER,
    processes.gpu_child_killed: ON_THE_GPU_WORKER,
    processes.gpu_worker_stopped: ON_THE_GPU_WORKER,
    processes.gpu_worker_terminated: ON_THE_GPU_WORKER,
    processes.trainer_killed: ON_THE_GPU_WORKER,
    more_processes.gpu_worker_added: (points.planning, points.training),
    processes.beat_killed: (points.idle, points.opening, points.training),
    more_processes.beats_added: (points.idle, points.opening, points.scoring),
    postgres.postgres_killed: EVERYWHERE,
    postgres.postgres_restarted: EVERYWHERE,
    postgres.postgres_connections_ended: EVERYWHERE,
    postgres.postgres_connections_ended_again: (points.scoring, points.planning, points.training),
    postgres.postgres_connections_reset: EVERYWHERE,
    postgres.postgres_connections_dead: EVERYWHERE,
    postgres.postgres_frozen: EVERYWHERE,
    postgres.postgres_read_only: EVERYWHERE,
    postgres.postgres_read_only_beyond_leases: (points.scoring, points.training),
    postgres.column_renamed: (points.idle, points.opening),
    redis.redis_killed: EVERYWHERE,
    redis.redis_emptied: EVERYWHERE,
    redis.redis_emptied_again: (points.scoring, points.training),
    redis.redis_full: (points.idle, points.scoring, points.training),
    redis.redis_read_only: (points.idle, points.scoring, points.training),
    redis.redis_frozen: (points.idle, points.scoring, points.training),
    redis.redis_connections_dead: (points.idle, points.scoring, points.training),
    messages.messages_repeated: EVERYWHERE,
    messages.garbage_sent: (points.idle, points.scoring, points.training),
    rows.rows_late: EVERYWHERE[1:],  # before an hour has rows none is late
    machine.data_folder_full: (points.idle, points.planning, points.training),
    machine.clock_ahead: EVERYWHERE,
    machine.clock_behind: EVERYWHERE,
    files.weights_damaged: ON_THE_GPU_WORKER,
    files.weights_missing: ON_THE_GPU_WORKER,
    files.weights_missing_unasked: (points.idle,),
    files.optimizer_damaged: ON_THE_GPU_WORKER,
    files.record_torn: ON_THE_GPU_WORKER,
    files.weights_cut_under_a_restart: (points.idle, points.training),
    files.record_torn_under_a_restart: (points.idle, points.training),
    files.data_folder_made_anew: (points.idle, points.training),
    more_processes.data_folder_made_anew_beside_another: (points.idle,),
}
AFTER_A_STEP = (  # these need a checkpoint to strike
    files.weights_damaged,
    files.weights_missing,
    files.weights_missing_unasked,
    files.optimizer_damaged,
    files.record_torn,
    files.weights_cut_under_a_restart,
    files.record_torn_under_a_restart,
    files.data_folder_made_anew,
    more_processes.data_folder_made_anew_beside_another,
)
# While these points are held, the harness has stopped the trainer, and no agent is answered.
STOPS_THE_TRAINER = (points.training, points.evaluating)
# The worst: these are in `make test` too.
WORST: tuple[tuple[Strike, Point], ...] = (
    (processes.gpu_worker_killed, points.committing),
    (processes.gpu_worker_stopped, points.training),
    (processes.trainer_killed, points.training),
    (postgres.postgres_killed, points.committing),
    (postgres.postgres_connections_dead, points.scoring),
    (postgres.postgres_connections_dead, points.training),
    (postgres.postgres_read_only, points.scoring),
    (redis.redis_full, points.training),
    (files.weights_damaged, points.promoting),
    (redis.redis_connections_dead, points.idle),
    (messages.messages_repeated, points.scoring),
    (machine.data_folder_full, points.training),
)


# What strikes other kinds of systems: those faults that could end otherwise there.
ON_OTHER_SYSTEMS: dict[Kind, tuple[tuple[Strike, Point], ...]] = {
    EVALUATING: (
        (processes.gpu_worker_killed, points.evaluating),
        (processes.trainer_killed, points.evaluating),
        (processes.trainer_frozen, points.evaluating),
        (more_processes.gpu_worker_added, points.planning),
        (postgres.postgres_killed, points.evaluating),
        (postgres.postgres_connections_dead, points.evaluating),
        (redis.redis_killed, points.evaluating),
        (files.weights_damaged, points.evaluating),
        (machine.data_folder_full, points.committing),  # the groups cannot be written after it
    ),
    TWO_LINEAGES: (
        (processes.gpu_worker_killed, points.training),
        (postgres.postgres_killed, points.committing),
        (postgres.postgres_connections_dead, points.training),
        (redis.redis_killed, points.scoring),
    ),
    POOLED: (
        (processes.gpu_worker_killed, points.training),
        (postgres.postgres_killed, points.committing),
        (postgres.postgres_connections_dead, points.scoring),
        (postgres.pooler_killed, points.training),
        (redis.redis_killed, points.scoring),
    ),
    OVER_TLS: (
        (processes.gpu_worker_killed, points.training),
        (postgres.postgres_killed, points.committing),
        (postgres.postgres_connections_dead, points.training),
        (redis.redis_killed, points.scoring),
        (redis.redis_connections_dead, points.idle),
    ),
    ON_SMALL_DISK: (
        (postgres.postgres_disk_full, points.scoring),
        (postgres.postgres_disk_full, points.committing),
        (postgres.postgres_ended_by_its_disk, points.scoring),
        (postgres.postgres_ended_by_its_disk, points.training),
    ),
}


class Cell(NamedTuple):
    """A fault at a point, on a kind of system."""

    strike: Strike
    point: Point
    kind: Kind = PLAIN

    @property
    def name(self) -> str:
        """The id of its test."""
        name = f"{self.strike.__name__}-{self.point.__name__}"
        return name if self.kind is PLAIN else f"{self.kind.name}-{name}"


CELLS: list[Cell] = [Cell(strike, point) for strike, where in STRUCK.items() for point in where]
OTHER_CELLS: list[Cell] = [
    Cell(strike, point, kind)
    for kind, faults in ON_OTHER_SYSTEMS.items()
    for strike, point in faults
]
