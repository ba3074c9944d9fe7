"""A database of another model's hours: a warm start, and whoever dies, it is trained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from acceptance.harness import Babylon, hours, until
from acceptance.other_models import of_another_model
from training_steps import warm

from babylon_tasks.db.invariants import violations
from babylon_tasks.training.checkpoints import adapter_hash

MakeBabylon = Callable[..., Babylon]

EPOCHS = 30  # some seconds of training


@pytest.mark.long
def test_a_worker_killed_in_a_supervised_step_leaves_it_to_the_next_which_trains_it_once(
    make_babylon: MakeBabylon,
) -> None:
    babylon = make_babylon(
        BABYLON_SUPERVISED_EPOCHS=str(EPOCHS), BABYLON_SUPERVISED_CALLS_PER_GRADIENT_STEP="1"
    )
    [window] = hours(1)
    of_another_model(babylon, window)
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_states([window], "skipped")  # of no use to GRPO

    planned = until("the worker is done", lambda: warm(babylon.stack.settings).step)
    cut_short = babylon.await_running_step()
    babylon.kill("gpu-worker")
    babylon.start("gpu-worker")
    babylon.await_states([window], "trained")

    [finished] = babylon.steps()
    assert (planned, finished["method"], finished["state"]) == (1, "supervised", "committed")
    assert (finished["id"], finished["tries"]) == (cut_short["id"], 2)
    assert finished["manifest_hash"] == cut_short["manifest_hash"]
    assert finished["gradient_steps"] == 8 * EPOCHS
    uses = babylon.rows("SELECT count(*) AS n FROM training.consumption")
    assert uses == [{"n": 8}]  # the best two of each eight
    [made] = babylon.rows("SELECT uri, content_hash FROM training.checkpoints WHERE step > 0")
    assert adapter_hash(Path(made["uri"])) == made["content_hash"]
    assert violations(babylon.connection, babylon.stack.settings, at_rest=True) == []
    events = [event["kind"] for event in babylon.events_of(window)]
    assert {"reopened", "step_taken_over"} <= {*events}
