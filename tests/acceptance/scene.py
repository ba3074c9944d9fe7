"""A system in the middle of a night's work, for who looks at its pages."""

from __future__ import annotations

import base64
import json
import re
from urllib.request import Request, urlopen

import psutil
from acceptance.harness import OPTIONS, Babylon, hours, sender, until

from babylon_tasks.windows import is_held_out

LINEAGE = "babylon"
_SHARE = 0.2
SCENE_OPTIONS = {
    **OPTIONS,
    "BABYLON_LINEAGE": LINEAGE,
    "BABYLON_UPKEEP_INTERVAL_SECONDS": "3600",  # the scene says when beat's messages come
    "BABYLON_HELD_OUT_SHARE": str(_SHARE),
    "BABYLON_PROMOTION_MODE": "evaluated",
    "BABYLON_MIN_EVAL_COVERAGE": "0",  # the tiny model says anything but YES and NO
    "BABYLON_PROMOTE_TOLERANCE": "1",
    "BABYLON_MAX_ATTEMPTS": "1",
    "BABYLON_SHUTDOWN_SECONDS": "1",
}


class Scene(Babylon):
    """A window was trained, one skipped, one failed; one is being trained by a trainer that
    is stopped, and the messages of two wait for it."""

    trained: str
    skipped: str
    failed: str
    running: str
    waiting: list[str]

    def play(self) -> None:
        """Let it come to that."""
        known = hours(30)
        held_out = [name for name in known if is_held_out(name, LINEAGE, _SHARE)]
        others = [name for name in known if name not in held_out][-6:]
        self.trained, self.skipped, self.failed, self.running, *self.waiting = others
        self._app = sender(self.stack.settings)
        self.start("flower", "gpu-worker", "cpu-worker")
        until("Flower listens", lambda: "Connected to redis" in self.log("flower"))

        self._come(held_out[-1], "held_out", groups=8)
        self._come(self.trained, "trained", groups=4)
        self._come(self.skipped, "skipped", spread=0.0)

        # A fault of this window alone: whatever else were missing, it would wait.
        refused = f"ADD CONSTRAINT refused CHECK (window_id <> '{self.failed}')"
        self.connection.execute(f"ALTER TABLE training.scores {refused}")  # type: ignore[arg-type]
        self._come(self.failed, "failed")
        self.connection.execute("ALTER TABLE training.scores DROP CONSTRAINT refused")

        self._come(self.running, "training", groups=120)
        until(
            "Flower hears of its progress",
            lambda: re.search(r"training: (?![01] )\d+ of \d+ grad", self._heard(self.running)),
        )
        self._trainer().suspend()
        for window in self.waiting:
            self._come(window, "scored")

    def close(self) -> None:
        """End what is stopped, too."""
        trainer = self.trainer()
        if trainer is not None:
            trainer.resume()
        super().close()

    def _come(self, window: str, state: str, *, groups: int = 2, spread: float = 400.0) -> None:
        self.record(window, groups=groups, spread=spread)
        self._app.send_task("babylon.discover.v1", queue="upkeep")
        self.await_states([window], state)

    def _trainer(self) -> psutil.Process:
        trainer = self.trainer()
        assert trainer is not None
        return trainer

    def _heard(self, window: str) -> str:
        login = base64.b64encode(self.stack.flower_login.encode()).decode()
        request = Request(  # noqa: S310 - http
            f"{self.stack.flower_url}/api/tasks?taskname=babylon.train_window.v1",
            headers={"Authorization": f"Basic {login}"},
        )
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            tasks = json.loads(answer.read()).values()
        return " ".join(task["summary"] or "" for task in tasks if task["window"] == window)
