"""Each mode of promotion asks for evidence of its own, and none stands in for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from evaluated_checkpoints import LINEAGE, decisions, held_out_windows, trained
from peer import PeerTrainer
from scored_windows import column
from screened import HOURS, Policies, Policy, constant, knows, questions, rephrased

from babylon_tasks.arms import Arms
from babylon_tasks.db import arms, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherTrainer
from babylon_tasks.pipeline.decide_head import decide_head
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")

MakeSettings = Callable[..., Settings]
Tried = Callable[[str], tuple[Settings, PeerTrainer]]


def settings_for(make_settings: MakeSettings, **values: Any) -> Settings:
    return make_settings(**{"screen_questions": 40, "min_screen_questions": 30, **values})


@pytest.fixture
def tried(connection: Connection, make_settings: MakeSettings) -> Tried:
    """``tried(mode)``: a first step was trained, and there are questions to ask about it."""

    def begin(mode: str) -> tuple[Settings, PeerTrainer]:
        settings = settings_for(make_settings, promotion_mode=mode)
        trainer = PeerTrainer(settings.data_dir)
        questions(connection, *HOURS[:2])
        trained(connection, settings, trainer, 1)
        return settings, trainer

    return begin


def decided(settings: Settings, trainer: PeerTrainer) -> GateResult:
    return decide_head(settings, trainer, actor="test")


def with_policies(trainer: PeerTrainer, serves: Policy, candidate: Policy) -> Policies:
    """The endpoint that the trainer says it has."""
    made = Policies(at_0=serves, at_1=candidate)
    trainer.url = made.url
    return made


def test_screened_promotes_what_has_not_collapsed(connection: Connection, tried: Tried) -> None:
    settings, trainer = tried("screened")

    with with_policies(trainer, knows, rephrased):
        found = decided(settings, trainer)

    assert (found.action, found.serving) == ("promoted", 1)
    assert "no collapse on 40 held-out questions" in found.reason
    (row,) = column(connection, "SELECT id FROM training.screens")
    assert (found.figures["screen"], found.figures["refused"]) == (row, False)
    assert trainer.evaluated == []


def test_screened_holds_a_collapse_once_until_there_are_new_questions(
    connection: Connection, tried: Tried
) -> None:
    settings, trainer = tried("screened")

    with with_policies(trainer, knows, constant) as server:
        refused = decided(settings, trainer)
        again = decided(settings, trainer)
        asked = len(server.asked)
        questions(connection, HOURS[2])
        anew = decided(settings, trainer)

    assert (refused.action, refused.serving, refused.figures["refused"]) == ("held", 0, "harm")
    assert refused.reason.startswith("refused on 40 held-out questions: ")
    assert "100% of the answers come to the same" in refused.reason
    assert (again.action, asked) == ("idle", 80)
    assert again.reason.startswith("held before: ")
    assert anew.action == "held"
    assert decisions(connection) == ["hold", "hold"]


def test_screened_decides_nothing_without_questions_or_an_endpoint(
    connection: Connection, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(make_settings, promotion_mode="screened")
    trainer = PeerTrainer(settings.data_dir)
    trained(connection, settings, trainer, 1)
    few = decided(settings, trainer)
    questions(connection, *HOURS[:2])
    with with_policies(trainer, knows, knows) as server:
        server.ends_after = 0
        away = decided(settings, trainer)

    def another(*_: object) -> None:
        raise AnotherTrainer("another trainer serves lineage babylon")

    monkeypatch.setattr(trainer, "ready", another)
    elsewhere = decided(settings, trainer)

    assert {one.action for one in (few, away, elsewhere)} == {"idle"}
    assert "0 held-out questions of at least 30" in few.reason
    assert "not screened, to be retried: babylon@1 could not be asked" in away.reason
    assert "another trainer serves" in elsewhere.reason
    assert decisions(connection) == []
    connection.execute("UPDATE training.checkpoints SET created_at = now() - interval '1 hour'")
    assert reconcile(settings, actor="test").unevaluated


def test_proven_holds_what_passes_the_screen_and_names_what_it_waits_for(
    connection: Connection, tried: Tried
) -> None:
    settings, trainer = tried("proven")

    with with_policies(trainer, knows, knows):
        found = decided(settings, trainer)
        again = decided(settings, trainer)

    assert (found.action, again.action, found.figures["refused"]) == ("held", "idle", False)
    assert "it waits for its trial against the anchor" in found.reason
    waits = refusals.why_waits(connection, settings)
    assert waits is not None
    assert "in mode proven one step is tried at a time" in waits
    screened = settings.model_copy(update={"promotion_mode": "screened"})
    assert refusals.why_waits(connection, screened) is None  # `cpu` can branch


def test_proven_lets_what_passes_its_screen_serve_on_the_share_of_a_ramp(
    connection: Connection, tried: Tried
) -> None:
    settings, trainer = tried("proven")
    now = arms.this_hour(connection)
    on_ramp = Arms(from_window=now, salt="x", control_share=0.95, control_model="qwen/x")
    arms.begin(connection, LINEAGE, on_ramp)

    with with_policies(trainer, knows, knows):
        found = decided(settings, trainer)

    assert (found.action, found.serving) == ("promoted", 1)
    assert refusals.why_waits(connection, settings) is None


def test_manual_leaves_it_to_the_operator(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = settings_for(make_settings, promotion_mode="manual")
    trainer = PeerTrainer(settings.data_dir)
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)

    found, again = (decided(settings, trainer) for _ in range(2))

    assert (found.action, again.action) == ("held", "idle")
    assert "`babylon-tasks models promote 1` lets it serve" in found.reason
    last = promotions.latest(connection, LINEAGE)
    assert last is not None
    assert last.figures == {"mode": "manual", "refused": False}
    assert trainer.evaluated == []


@pytest.mark.parametrize(("backend", "mode"), [("cpu", "evaluated"), ("serverless", "screened")])
def test_the_default_is_what_the_backend_can_show(
    connection: Connection, make_settings: MakeSettings, backend: str, mode: str
) -> None:
    settings = settings_for(make_settings, min_eval_groups=3, WANDB_API_KEY="word-of-wandb")
    trainer = PeerTrainer(settings.data_dir, remote=backend == "serverless")
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)

    found = decided(settings, trainer)

    assert (found.action == "promoted") is (mode == "evaluated")
    assert bool(trainer.evaluated) is (mode == "evaluated")
    assert ("not screened" in found.reason) is (mode == "screened")
