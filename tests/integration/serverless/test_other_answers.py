"""Something else answers in W&B's place, with 200: a proxy's page, or JSON that is none of W&B's.

Nothing is paid for twice, and no window pays for it with an attempt.
"""

from __future__ import annotations

import pytest
from factories import exact_call
from scored_windows import column, scored_window
from scoring_runs import MakeSettings
from wandb_peer import WandbPeer

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")

ANSWERS = ["<html>Sign in</html>", "null", "[]", "{}", '{"data": null}', '{"data": [5]}']


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=1)


def failed(settings: Settings, trainer: Trainer) -> tuple[Fault | None, str]:
    """Whose fault it is that a step does not end, and why."""
    try:
        outcome = train_window(settings, trainer, window=None, actor="test")
    except TrainingError as error:
        return error.fault, str(error)
    assert outcome.action == "failed"
    return outcome.fault, str(outcome.reason)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("path", ["/checkpoints", "/events"])
def test_what_is_no_list_of_wandbs_is_waited_out(
    connection: Connection,
    settings: Settings,
    remote: Trainer,
    peer: WandbPeer,
    path: str,
    answer: str,
) -> None:
    remote.ready()
    peer.steps = []
    scored_window(connection, calls=[exact_call("YES", promptTokenIds=[1, 2, 3])])
    peer.broken, peer.instead = path, answer

    fault, why = failed(settings, remote)

    assert fault is Fault.SERVICE_REFUSES
    assert "W&B has answered" in why
    assert column(connection, "SELECT training_tries FROM training.windows") == [0]
    peer.broken = None
    trained = train_window(settings, remote, window=None, actor="test")
    assert trained.action in ("committed", "adopted")
    assert (list(peer.jobs), peer.steps) == (["job-1"], [1])
