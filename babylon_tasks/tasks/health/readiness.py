"""What a worker needs to do its work now: Postgres with this schema, closed circuits, a trainer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from babylon_tasks.db import circuits, lineages, migrate, promotions
from babylon_tasks.db.promotions import ServingRow
from babylon_tasks.db.server_state import is_read_only
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.plain_text import plain
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import family, trains
from babylon_tasks.tasks.health.bounded_check import ANSWER_SECONDS, BoundedCheck, Run
from babylon_tasks.tasks.health.inference import cannot_be_asked, lacks_model
from babylon_tasks.tasks.health.pool_children import PoolChildren
from babylon_tasks.tasks.redis_health import refusal

REDIS_SECONDS = 2.0
# The trainer says every two seconds that it lives.
TRAINER_SILENT_SECONDS = 30.0
_CONNECT_SECONDS = 1.0
_REASON = 200  # characters


def redis_check(settings: Settings) -> BoundedCheck:
    """Check that Redis takes a write."""
    return BoundedCheck("Redis", lambda _: refusal(settings, REDIS_SECONDS))


class WorkerReadiness:
    """The checks of a worker, by the queues that it consumes."""

    def __init__(self, settings: Settings, queues: frozenset[str], children: PoolChildren) -> None:
        self._settings = settings
        self._children = children
        self._circuits = {
            "cpu": circuits.SCORING,
            "gpu": circuits.training(settings.lineage),
        }
        self._families = frozenset(map(family, queues))
        self._trains = trains(queues)
        self._trouble: str | None = None
        self._mask = Mask(settings)

    def checks(self) -> Iterator[BoundedCheck]:
        """List the checks; each waits in a thread of its own."""
        yield BoundedCheck("the pool", lambda _: self._children.silent())
        yield BoundedCheck("Postgres", self._database)
        if self._trains:
            yield BoundedCheck("Postgres", self._trainer)

    def trouble(self) -> str | None:
        """Say what is wrong with the lineage's files, though an older checkpoint serves."""
        return self._trouble

    def _database(self, _: Run) -> str | None:
        try:
            with self._session() as connection:
                migrate.check(connection)
                if is_read_only(connection):
                    return "Postgres takes no writes: it may be failing over"
                if self._trains:
                    lineage = lineages.get(connection, self._settings.lineage)
                    trouble = None if lineage is None else lineage.trouble
                    self._trouble = None if trouble is None else self._text(trouble)
                paused = [
                    f"{circuit.name} is paused after {circuit.faults} faults in a row "
                    f"({circuit.fault}), last: {circuit.reason[:_REASON]}"
                    for queue, name in self._circuits.items()
                    if queue in self._families
                    and (circuit := circuits.opened_by_name(connection, name))
                ]
        except BabylonTasksError as error:
            return self._text(str(error))
        return self._text("; ".join(paused)) if paused else None

    def _trainer(self, run: Run) -> str | None:
        child = self._children.first
        if child is None or child.trainer_pid is None:
            return "the trainer does not run"
        if not child.trainer_serves:
            return "the trainer does not serve yet"
        if child.trainer_silent > TRAINER_SILENT_SECONDS:
            return f"the trainer has been silent for {child.trainer_silent:.0f} s"
        port = child.trainer_port
        if port is None:  # W&B serves
            return None
        run.waits_for = "the trainer's inference"
        wrong = cannot_be_asked(self._settings, port)
        if wrong is not None:
            return wrong
        run.waits_for = "Postgres"
        try:
            with self._session() as connection:
                serving: ServingRow = promotions.serving(connection, self._settings.lineage)
        except BabylonTasksError as error:
            return self._text(str(error))
        run.waits_for = "the trainer's inference"
        return lacks_model(self._settings, port, serving)

    def _session(self) -> AbstractContextManager[Connection]:
        return session(self._settings, patience=_CONNECT_SECONDS, silence=ANSWER_SECONDS)

    def _text(self, text: str) -> str:
        return plain(self._mask.text(text))
