"""Recorded rows of another model, a planned step, the worker's part and a real trainer process."""

from __future__ import annotations

from collections.abc import Callable

from factories import SYSTEM, USER, WINDOW, llm_call
from recorded import call, group
from scored_windows import column, scored_window
from training_steps import warm

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer

ANSWER = '{"action": "TRADE", "side": "yes"}'


def test_the_better_answers_of_another_model_become_likelier_by_a_committed_step(
    connection: Connection,
    make_settings: Callable[..., Settings],
    worker_settings: Settings,
    trainer: Trainer,
    value: Callable[..., float],
) -> None:
    settings = make_settings(
        lineage=worker_settings.lineage,
        base_model=worker_settings.base_model,
        backend="cpu",
        data_dir=worker_settings.data_dir,
        packed_sequence_length=128,
        supervised_epochs=20,
        supervised_learning_rate=1e-2,
    )
    scored_window(connection, calls=[llm_call(ANSWER, model="gpt-4.1")])
    asked = {"messages": (("system", SYSTEM), ("user", USER)), "token_ids": None}
    yardstick = group([(call(ANSWER, **asked), 1.0), (call("WAIT", **asked), 0.0)])

    assert warm(settings).step == 1
    ended = train_window(settings, trainer, window=WINDOW, actor="test")
    before, after = (value(step, yardstick) for step in (0, 1))
    trainer.discard(1)

    assert (ended.action, ended.step) == ("committed", 1)
    assert ended.result is not None
    assert ended.result.gradient_steps == 20
    # The value is the answer's probability; that of the untrained model is all but 0.
    assert after > 1000 * before
    assert column(connection, "SELECT count(*) FROM training.consumption") == [1]
