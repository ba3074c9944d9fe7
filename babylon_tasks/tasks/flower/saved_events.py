"""Flower's file of what it knows, replaced as a whole.

Flower 2.2 writes a ``shelve``. Where Python has neither gdbm nor ndbm that is three files, put in
place one after the other, and a Flower that was killed between two of them starts with an empty
list.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import structlog
from flower.events import Events

from babylon_tasks.tasks.flower.bounded_state import BoundedState

log = structlog.get_logger(__name__)


class SavedEvents(Events):  # type: ignore[misc]  # flower is untyped
    """Flower's reader of events; ``BABYLON_FLOWER_DB`` is the one file that it keeps."""

    def load_state(self) -> BoundedState | None:
        """Read the file; one that cannot be read is kept beside it, as ``.corrupt``."""
        path = Path(self.db)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file:
                state: BoundedState
                state, counter = pickle.load(file)  # noqa: S301  # only Flower writes there
                state.counter.update(counter)  # Celery's way to pickle a state leaves it out
        except Exception as error:  # noqa: BLE001  # whatever pickle makes of a damaged file
            aside = path.with_name(f"{path.name}.corrupt")
            path.replace(aside)
            log.error(
                "flower_file.set_aside",
                path=str(path),
                moved_to=str(aside),
                error=repr(error),
                consequence="Flower's list of tasks begins anew; nothing else does",
                todo="`babylon-tasks why WINDOW` has what happened before; delete the file",
            )
            return None
        return state

    def save_state(self) -> None:
        """Write the file anew; a kill at any moment leaves the old one or the new one."""
        path = Path(self.db)
        scratch = path.with_name(f"{path.name}.tmp")
        with scratch.open("wb") as file:
            pickle.dump((self.state, dict(self.state.counter)), file)
        scratch.replace(path)
