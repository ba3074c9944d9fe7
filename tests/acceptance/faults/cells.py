"""The table of faults and the points at which each strikes: docs/reliability.md has it for readers.

Left out is what cannot differ: the death of a process that takes no part in what happens then.
"""

from __future__ import annotations

from typing import NamedTuple

from acceptance.faults import points, strikes
from acceptance.faults.points import Point
from acceptance.faults.strikes import Strike

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
    strikes.cpu_worker_killed: ON_THE_CPU_WORKER,
    strikes.cpu_child_killed: ON_THE_CPU_WORKER,
    strikes.cpu_worker_stopped: ON_THE_CPU_WORKER,
    strikes.gpu_worker_killed: ON_THE_GPU_WORKER,
    strikes.gpu_child_killed: ON_THE_GPU_WORKER,
    strikes.gpu_worker_stopped: ON_THE_GPU_WORKER,
    strikes.gpu_worker_terminated: ON_THE_GPU_WORKER,
    strikes.trainer_killed: ON_THE_GPU_WORKER,
    strikes.beat_killed: (points.idle, points.opening, points.training),
    strikes.postgres_killed: EVERYWHERE,
    strikes.postgres_restarted: EVERYWHERE,
    strikes.postgres_connections_ended: EVERYWHERE,
    strikes.postgres_connections_ended_again: (points.scoring, points.planning, points.training),
    strikes.postgres_connections_reset: EVERYWHERE,
    strikes.postgres_connections_dead: EVERYWHERE,
    strikes.postgres_frozen: EVERYWHERE,
    strikes.postgres_read_only: EVERYWHERE,
    strikes.redis_killed: EVERYWHERE,
    strikes.redis_emptied: EVERYWHERE,
    strikes.redis_full: (points.idle, points.scoring, points.training),
    strikes.redis_read_only: (points.idle, points.scoring, points.training),
    strikes.redis_frozen: (points.idle, points.scoring, points.training),
    strikes.redis_connections_dead: (points.idle, points.scoring, points.training),
    strikes.messages_repeated: EVERYWHERE,
    strikes.garbage_sent: (points.idle, points.scoring, points.training),
}
# The worst: these are in `make test` too.
WORST: tuple[tuple[Strike, Point], ...] = (
    (strikes.gpu_worker_killed, points.committing),
    (strikes.gpu_worker_stopped, points.training),
    (strikes.trainer_killed, points.training),
    (strikes.postgres_killed, points.committing),
    (strikes.postgres_connections_dead, points.scoring),
    (strikes.postgres_connections_dead, points.training),
    (strikes.postgres_read_only, points.scoring),
    (strikes.redis_full, points.training),
    (strikes.redis_read_only, points.idle),
    (strikes.redis_connections_dead, points.idle),
    (strikes.messages_repeated, points.scoring),
    (strikes.garbage_sent, points.training),
)


class Cell(NamedTuple):
    """A fault at a point."""

    strike: Strike
    point: Point

    @property
    def name(self) -> str:
        """The id of its test."""
        return f"{self.strike.__name__}-{self.point.__name__}"


CELLS: list[Cell] = [Cell(strike, point) for strike, where in STRUCK.items() for point in where]
