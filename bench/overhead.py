"""What a step takes around ART's ``train()``: ``python -m bench.overhead --members 75 150 300``.

The real trainer of backend ``cpu`` with the tests' tiny model, so that all of it runs but little is
computed. For each size an hour is recorded, scored and trained: planned, inspected, passed to the
trainer, its tokens proven, packed and trained on by ART, its checkpoint hashed, verified and
committed. What ART itself says that it took is taken off; the rest is compared with a step of a
minute, which is what a real model takes at least. By CPU counts what the worker used, and of the
trainer's CPU in each request the share of its time that was not ART's: a busy machine does not
change it. Printed by members of a step, with how it grows, and what converting groups of long
answers to ART's takes.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
from pydantic import SecretStr

from babylon_tasks import log
from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import Connection, session
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.registry.serving import promote
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from babylon_tasks.training.conversations import art_groups
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.windows import WINDOW as HOUR
from babylon_tasks.windows import window_id, window_start
from bench.growth import SIZES, curve
from bench.other_work import OtherWork

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from crowd import QUESTION  # noqa: E402  # the tests' parts are no package
from factories import EVER, WINDOW, exact_call, insert_trajectories, step, trajectory  # noqa: E402
from models import save_tiny_model  # noqa: E402

MINUTE = 60.0
AIM = 0.05
GROUP = 16
ARTS = "time/step_trainer_s"
LONG = (45, 300)  # calls of a step of long answers, and tokens of each


class Timed:
    """A trainer, with the seconds of each kind of request, and its own CPU seconds meanwhile."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._trainer, name)
        if not callable(found):
            return found

        def asked(*args: Any, **named: Any) -> Any:
            began, cpu = time.perf_counter(), self._used()
            try:
                return found(*args, **named)
            finally:
                self.seconds[name] += time.perf_counter() - began
                self.cpu[name] += self._used() - cpu

        return asked

    def _used(self) -> float:
        return sum(psutil.Process(self._trainer.pid).cpu_times()[:2])


class Step(NamedTuple):
    """What one step took, in seconds; ``trainer`` and ``used``: its requests, and its CPU there."""

    members: int
    all: float
    art: float
    worker: float
    trainer: dict[str, float]
    used: dict[str, float]

    @property
    def around(self) -> float:
        """What was not ART's."""
        return self.all - self.art

    @property
    def cpu(self) -> float:
        """The CPU of it, the worker's included."""
        outside = max(0.0, 1 - self.art / self.trainer["train"])
        other = sum(cpu for name, cpu in self.used.items() if name != "train")
        return self.worker + other + self.used["train"] * outside


def settings_of(url: str, folder: Path, model: Path) -> Settings:
    """Make the settings of a worker whose trainer is the real one."""
    return Settings(
        DATABASE_URL=SecretStr(url),
        WANDB_API_KEY=None,
        backend="cpu",
        torch_device="cpu",
        base_model=str(model),
        data_dir=folder / "models",
        inference_port=0,
        held_out_share=0,
        promotion_mode="manual",
        lookback_hours=EVER,
        grace_seconds=0,
        outcome_wait_hours=0,
        log_level="ERROR",
    )


def record(connection: Connection, window: str, members: int, model: str) -> None:
    """Record an hour of so many agents, sixteen of whom were asked the same."""
    draw = random.Random(window)
    insert_trajectories(
        connection,
        [
            trajectory(
                window,
                f"agent-{number}",
                [
                    step(
                        0,
                        [
                            exact_call(
                                draw.choice(["YES", "NO"]),
                                model=model,
                                userPrompt=f"{number // GROUP}. {QUESTION}",
                            )
                        ],
                        window=window,
                    )
                ],
                scenario=f"question-{number // GROUP}",
                final_pnl=draw.gauss(0, 500),
            )
            for number in range(members)
        ],
    )


def trained(
    settings: Settings, trainer: Trainer, connection: Connection, number: int, members: int
) -> Step:
    """Play one hour and train on it; raises SystemExit where that is not one step."""
    window = window_id(window_start(WINDOW) + number * HOUR)
    record(connection, window, members, f"{settings.lineage}@{number}")
    discover(settings, actor="bench")
    score_window(settings, window, actor="bench")
    timed: Any = Timed(trainer)
    began, cpu = time.perf_counter(), time.process_time()
    outcome = train_window(settings, timed, window=window, actor="bench")
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if outcome.result is None or outcome.step is None:
        sys.exit(f"hour {window} was not trained: {outcome}")
    promote(connection, settings.lineage, outcome.step, reason="bench", figures={}, actor="bench")
    return Step(members, seconds, outcome.result.metrics[ARTS], cpu, timed.seconds, timed.cpu)


def conversion() -> float:
    """Return the CPU milliseconds of making ART's trajectory of one long call."""
    calls, tokens = LONG
    call = LlmCall(
        model="babylon@0",
        messages=(("system", "s" * 1500), ("user", "u" * 1500)),
        response="word " * tokens,
        temperature=1.0,
        policy_step=0,
        logprobs=(-1.5,) * tokens,
        token_ids=tuple(range(100, 100 + tokens)),
    )
    groups = [Group("w", "k", tuple(Member(f"t-{n}", 0.5, (call,)) for n in range(calls)))]
    took = []
    for _ in range(6):
        began = time.process_time()
        art_groups(groups)
        took.append((time.process_time() - began) / calls * 1000)
    return median(took[1:])  # the first imports


def main() -> None:
    """Train on each size, print what was around it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, nargs="+", default=[75, 150, 300])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    others = OtherWork()
    found: dict[int, list[Step]] = {members: [] for members in sorted(set(given.members))}
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        model = save_tiny_model(folder / "model")
        with EmbeddedPostgres(folder / "postgres", durable=False) as server:
            settings = settings_of(server.url, folder, model)
            log.configure(settings)
            create(settings)
            apply(settings)
            with Trainer(settings) as trainer, session(settings) as connection:
                trainer.ready()
                number = 0
                for turn in range(given.rounds + 1):
                    for members, steps in found.items():
                        took = trained(settings, trainer, connection, number, members)
                        number += 1
                        if turn:  # before the first: imports, the tokenizer
                            steps.append(took)
    _report(found, str(others))


def _report(found: dict[int, list[Step]], others: str) -> None:
    print(f"a step by its members, medians of {len(next(iter(found.values())))}; {others}")
    costs: dict[str, list[float]] = {}
    for members, steps in found.items():
        around = median(one.around for one in steps)
        cpu = median(one.cpu for one in steps)
        inspected = median(one.trainer["inspect"] for one in steps)
        costs.setdefault("around ART's train(), by CPU", []).append(cpu)
        costs.setdefault("the worker's CPU", []).append(median(one.worker for one in steps))
        print(
            f"  {members:5} members: {median(one.all for one in steps):.2f} s, of which "
            f"{median(one.art for one in steps):.2f} in ART's train(), {inspected:.2f} inspecting; "
            f"around ART's {around:.2f} s, {around / MINUTE:.1%} of a minute, by CPU "
            f"{cpu:.2f} s, {cpu / MINUTE:.1%} (aim: under {AIM:.0%})"
        )
    if len(found) >= SIZES:
        for what, each in costs.items():
            print(curve(what, list(found), each, " s"))
    each = conversion()
    calls, tokens = LONG
    print(
        f"  groups for ART: {each:.2f} ms of CPU a call of {tokens} tokens; {calls} calls, a step "
        f"of them, {each * calls / 1000 / MINUTE:.2%} of a minute"
    )


if __name__ == "__main__":
    main()
