"""More processes of a kind than one, as on other machines, until an hour is trained beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from acceptance.faults.strikes.files import data_folder_made_anew
from acceptance.faults.system import System
from acceptance.harness import sender, until
from acceptance.outcome import undecided


@contextmanager
def gpu_worker_added(system: System) -> Iterator[None]:
    """Another GPU worker takes messages on the same data folder, until an hour is trained."""
    train = sender(system.stack.settings).signature("babylon.train_window.v1", (None,))
    with _beside(system, "gpu-worker", "other-gpu-worker", begun=" ready."):
        done = _done(system)
        yield
        # More than the first takes: at any moment the other one has some, whatever is going on.
        until("an hour is trained beside it", lambda: bool(train.apply_async()) and done())


@contextmanager
def beats_added(system: System) -> Iterator[None]:
    """Two more beats send what the first one sends, until an hour is trained."""
    with _beside(system, "beat", "second-beat", "third-beat", begun="beat: Starting..."):
        done = _done(system)
        yield
        until("an hour is trained beside them", done)


@contextmanager
def data_folder_made_anew_beside_another(system: System) -> Iterator[None]:
    """The data folder is deleted and made anew, while another GPU worker would start a trainer."""
    with gpu_worker_added(system), data_folder_made_anew(system):
        yield


@contextmanager
def _beside(system: System, name: str, *added: str, begun: str) -> Iterator[None]:
    """With a node's name of their own; ``begun`` is in the log of one that has."""
    for other in added:
        before = system.log(other).count(begun) if other in system.names() else 0
        command = [part.replace("@%h", f"@{other}") for part in system.stack.command(name)]
        system.stack.start(other, command, {"BABYLON_METRICS_PORT": "0"})
        until(
            f"{other} has begun",
            lambda other=other, before=before: system.log(other).count(begun) > before,
        )
    yield
    for other in added:
        ended = system.terminate(other)
        until(f"{other} has ended", lambda ended=ended: ended.child.poll() is not None)


def _done(system: System) -> Callable[[], bool]:
    trained = len(system.steps("committed"))

    def done() -> bool:
        if not system.unfinished():
            return True
        return len(system.steps("committed")) > trained and not (
            system.kind.evaluates and undecided(system)
        )

    return done
