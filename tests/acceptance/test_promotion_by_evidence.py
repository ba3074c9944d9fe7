"""Promotion by evidence with real processes: from the model that agents use to a policy of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean

import msgspec
import pytest
from acceptance.harness import Babylon
from acceptance.moved_hours import (
    AGENTS,
    EXTERNAL,
    MARKETS,
    RISING,
    Bear,
    ComparedHour,
    MovedHours,
)
from models import save_tiny_model
from otlp_receiver import OtlpReceiver, about, otlp_receiver
from simulated_ramp import falls
from wandb_policies import YesOrNoPeer

from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.comparison.ramp import RampStage
from babylon_tasks.db import comparisons
from babylon_tasks.db.invariants import violations
from babylon_tasks.policy_names import policy_name
from babylon_tasks.tracing import Span
from checks.clock.moved_clock import MovedClock

pytestmark = [pytest.mark.contract("today"), pytest.mark.long]

MakeBabylon = Callable[..., Babylon]
LINEAGE = "babylon"
KEY = "word-of-wandb"
PATIENCE = 40  # hours
PROMOTED_FIRST = """
    SELECT s.windows FROM training.promotions p
    JOIN training.steps s ON s.target_step = p.to_step AND s.state = 'committed'
    WHERE p.decision = 'promote' ORDER BY p.id LIMIT 1
"""


@pytest.fixture
def external() -> Iterator[Bear]:
    """The server of the model that agents use today."""
    with Bear() as server:
        yield server


@pytest.fixture(params=["cpu", "serverless"])
def backend(request: pytest.FixtureRequest) -> str:
    """With `cpu` a small model serves and is trained, with `serverless` W&B's peer answers."""
    found: str = request.param
    return found


@pytest.fixture
def peer(backend: str) -> Iterator[YesOrNoPeer | None]:
    """W&B, where it serves."""
    if backend != "serverless":
        yield None
        return
    with YesOrNoPeer(KEY) as started:
        yield started


@pytest.fixture
def traces() -> Iterator[OtlpReceiver]:
    """A collector, to which every process sends what it has done."""
    with otlp_receiver() as started:
        yield started


@pytest.fixture
def hours(
    moved_database_url: str,
    clock: MovedClock,
    external: Bear,
    backend: str,
    peer: YesOrNoPeer | None,
    traces: OtlpReceiver,
    tmp_path: Path,
    make_babylon: MakeBabylon,  # last: its processes end before what they need
) -> MovedHours:
    """Its processes run, and agents have been answered for an hour, which is held out."""
    at_wandb = {}
    if peer is not None:
        at_wandb = {
            "WANDB_API_KEY": KEY,
            "BABYLON_WANDB_BASE_URL": peer.url,
            "WANDB_MODE": "disabled",  # no curves at W&B's own address
        }
    upstream = {"base_url": external.url, "models": [EXTERNAL]}
    babylon = make_babylon(
        database=moved_database_url,
        LD_PRELOAD=str(clock.library),
        BABYLON_BACKEND=backend,
        BABYLON_BASE_MODEL=str(save_tiny_model(tmp_path / "model", says="YesNo", mostly="Yes")),
        BABYLON_LINEAGE=LINEAGE,
        BABYLON_HELD_OUT_SHARE="0.03",
        BABYLON_LEASE_SECONDS="1000000",  # an hour is none to who works
        BABYLON_PROFIT_SCALE="100",
        BABYLON_STEP_TOKEN_BUDGET="2000",
        BABYLON_SHUTDOWN_SECONDS="1",
        BABYLON_PROMOTION_MODE="screened",
        BABYLON_SCREEN_QUESTIONS="40",  # half of them from one hour
        BABYLON_MIN_SCREEN_QUESTIONS="20",
        BABYLON_GATEWAY_UPSTREAMS=json.dumps({"rules": upstream}),
        BABYLON_ANCHOR_MODEL=EXTERNAL,
        BABYLON_TRACES_URL=traces.url,
        BABYLON_TRACED_CALLS="0.2",
        BABYLON_COMPARISON_GUARD="false",  # as simulated; with it a rise takes half as long again
        **at_wandb,
    )
    made = MovedHours(babylon, clock)
    babylon.start("gpu-worker", "cpu-worker", "beat", "gateway")
    made.begin()
    return made


def rise(hours: MovedHours) -> list[ComparedHour]:
    """Until the policy has answered nine in ten agents for an hour that was compared."""
    seen: list[ComparedHour] = []
    while not seen or hours.policy_share(seen[-1].window) < 0.9:
        assert len(seen) < PATIENCE, [one.evidence.reason for one in seen]
        seen.append(hours.compared(hours.play()))
    return seen


def fall(hours: MovedHours) -> list[ComparedHour]:
    """Until it is concluded that the policy goes back to the floor."""
    seen: list[ComparedHour] = []
    while not seen or seen[-1].conclusion is not Conclusion.TO_FLOOR:
        assert len(seen) < PATIENCE, [one.evidence.reason for one in seen]
        seen.append(hours.compared(hours.play()))
    return seen


@pytest.mark.timeout(600)
def test_a_policy_rises_on_evidence_alone_and_falls_to_the_floor_when_it_collapses(
    hours: MovedHours, peer: YesOrNoPeer | None, traces: OtlpReceiver
) -> None:
    rising = rise(hours)
    before, broken = hours.newly_serving(rising[-1].window)
    if peer is None:
        hours.rising = MARKETS - RISING  # from now on what it has learned is wrong
    else:
        # It says Hmm, and so does all that comes from it, or again from the one before.
        peer.broken_from = number_at_wandb(hours, before) + 1
    falling = fall(hours)
    under_way, at_floor = hours.play(), hours.play()

    acts = [one.conclusion for one in (*rising, *falling)]
    assert [one for one in acts if one is not Conclusion.KEEP] == ["rise"] * 3 + ["to_floor"]
    shares = [hours.policy_share(one.window) for one in (*rising, *falling)]
    assert list(dict.fromkeys(shares)) == [0.05, 0.2, 0.5, 0.9]
    # The hour that has begun is the floor's at once, and is no evidence.
    assert hours.policy_share(under_way) == 0.05
    assert "before the conclusion" in hours.compared(under_way).evidence.reason
    assert hours.policy_share(at_floor) == 0.05
    assert_no_more_than_simulated(hours, rising, falling)
    assert_rolled_back(hours, falling, before, broken)
    for window in (under_way, at_floor):
        assert hours.answered_by(window).isdisjoint(dead(hours)), "what collapsed answers nobody"
    if peer is not None:  # what would come from it does not pass its screen either
        assert hours.answered_by(at_floor) == {before}
    steps = "SELECT DISTINCT step FROM training.calls WHERE step IS NOT NULL"
    assert len(hours.babylon.rows(steps)) > 1, "what was trained and screened meanwhile answers too"
    assert_traced(hours, traces)
    assert violations(hours.babylon.connection, hours.babylon.stack.settings) == []


def assert_traced(hours: MovedHours, traces: OtlpReceiver) -> None:
    """From an agent's call to the promotion of what was learned of it: one trace, by processes
    that tell each other nothing of it."""
    (promoted,) = hours.babylon.rows(PROMOTED_FIRST)
    window = promoted["windows"][0]
    (first,) = traces.named(Span.WINDOW, window)
    for name in Span:
        found = traces.named(name, window)
        assert found, f"no {name} of {window}"
        assert {span.trace_id for span in found} == {first.trace_id}
        assert {span.parent_span_id for span in found} == {
            b"" if name is Span.WINDOW else first.span_id
        }
    decided = {about(one)["babylon.decision"] for one in traces.named(Span.DECISION, window)}
    assert "promote" in decided
    senders = {one["service.instance.id"] for one in traces.resources}
    assert len(senders) >= 3, "the gateway, a cpu-worker and the gpu-worker"


def number_at_wandb(hours: MovedHours, step: int) -> int:
    """What W&B calls a checkpoint: it counts anew from the parent of a branch that is discarded."""
    query = """
        SELECT coalesce(backend_step, step) AS number FROM training.checkpoints WHERE step = %s
    """
    (found,) = hours.babylon.rows(query, (step,))
    number: int = found["number"]
    return number


def dead(hours: MovedHours) -> set[int]:
    rows = hours.babylon.rows("SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL")
    return {row["step"] for row in rows}


def assert_rolled_back(
    hours: MovedHours, falling: list[ComparedHour], before: int, broken: int
) -> None:
    """To what served in the last quiet hour: pointer, branch, Babylon's rows, on record."""
    (found,) = hours.babylon.rows(
        "SELECT from_step, to_step, evidence FROM training.promotions WHERE decision = 'rollback'"
    )
    assert found["to_step"] == before
    assert found["from_step"] >= broken
    assert found["evidence"]["windows"][-1] == falling[-1].window
    assert found["evidence"]["windows"] == [one.window for one in falling]
    assert found["from_step"] in dead(hours)
    assert before not in dead(hours)
    (pointer,) = hours.babylon.rows("SELECT serving_step AS step FROM training.lineages")
    assert pointer["step"] not in dead(hours)
    ready = """SELECT "modelId" AS name FROM trained_models WHERE status = 'ready'"""
    assert hours.babylon.rows(ready) == [{"name": policy_name(LINEAGE, pointer["step"])}]


def measured(hours: Sequence[ComparedHour]) -> list[ComparedHour]:
    """Those in which both arms had agents enough: of 200, one time in forty fewer than 5 are drawn
    for an arm of 5 %."""
    return [one for one in hours if one.evidence.reward.measured.serving is not None]


def assert_no_more_than_simulated(
    hours: MovedHours, rising: list[ComparedHour], falling: list[ComparedHour]
) -> None:
    """Of what agents lost from the collapse on, with the windows that it took to see it."""
    running = comparisons.newest(hours.babylon.connection, hours.babylon.lineage)
    assert running is not None
    above = [one for one in measured(rising) if one.stage is not RampStage.FLOOR]
    arms = [arm for one in above for arm in (one.stratum.serving, one.stratum.control)]
    simulated = list(
        falls(
            msgspec.json.decode(running.parameters, type=ComparisonParameters),
            agents=AGENTS,
            before=fmean(one.difference for one in above),
            after=fmean(one.difference for one in measured(falling)),
            deviation=sqrt(fmean(arm.variance for arm in arms)),
        )
    )
    loss = falling[-1].loss - rising[-1].loss
    assert len(falling) <= max(one.windows for one in simulated)
    assert 0 < loss <= max(one.loss for one in simulated)
