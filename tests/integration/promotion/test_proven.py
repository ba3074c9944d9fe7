"""Mode ``proven``, from a step's screen to the agents: nothing serves before its trial."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from compared_hours import PARAMETERS, begun, taken
from evaluated_checkpoints import LINEAGE, trained
from msgspec.structs import replace
from peer import PeerTrainer
from screened import HOURS, Policies, knows, questions

from babylon_tasks.db import promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.decide_head import decide_head
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")


def test_a_candidate_is_screened_tried_and_proven_before_it_serves_and_the_next_step_waits(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(promotion_mode="proven", screen_questions=40, min_screen_questions=30)
    trainer = PeerTrainer(settings.data_dir)
    questions(connection, *HOURS[:2])
    trained(connection, settings, trainer, 1)
    begun(connection, first=2, parameters=replace(PARAMETERS, guard=None))
    with Policies(at_0=knows, at_1=knows) as policies:
        trainer.url = policies.url
        screened = decide_head(settings, trainer, actor="test")
    assert (screened.action, screened.serving) == ("held", 0)

    met: list[str] = []
    for number in range(2, 10):
        waits = refusals.why_waits(connection, settings)
        assert waits is not None
        assert "in mode proven one step is tried at a time" in waits
        assert promotions.serving(connection, LINEAGE).step == 0
        found = taken(connection, settings, number, examinee=0.8)
        assert found is not None
        met.append(found.conclusion)
        if found.conclusion != "keep":
            break

    assert met[-1] == "proven_gain"
    assert promotions.serving(connection, LINEAGE).step == 1
    assert refusals.why_waits(connection, settings) is None
    last = promotions.latest(connection, LINEAGE)
    assert last is not None
    assert (last.decision, last.actor, last.figures["comparison"]) == (
        "promote",
        "comparison",
        1,
    )
