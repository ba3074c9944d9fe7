"""Which checkpoints are evaluated, how often, and on which held-out groups."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from evaluated_checkpoints import LINEAGE, decisions, evaluated, held_out_windows, trained
from factories import WINDOW, exact_call
from peer import PeerTrainer
from scored_windows import column, scored_window
from structlog.testing import capture_logs

from babylon_tasks.dataset import held_out
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compared_groups import held_out_set
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings


def test_an_unevaluated_checkpoint_is_found(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    assert not reconcile(settings, actor="test").unevaluated
    connection.execute("UPDATE training.checkpoints SET created_at = now() - interval '1 hour'")

    assert reconcile(settings, actor="test").unevaluated
    evaluated(settings, trainer)
    assert not reconcile(settings, actor="test").unevaluated


def test_a_checkpoint_is_evaluated_once_per_set_and_held_once(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        evaluated(settings, trainer)

    assert evaluated(settings, trainer).action == "idle"
    assert trainer.evaluated == [(0, 1), (2,)]
    assert len(decisions(connection)) == 2


def test_a_checkpoint_is_evaluated_where_the_one_before_it_was_held_on_the_same_set(
    connection: Connection, settings: Settings
) -> None:
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.4, 2: 0.7})
    held_out_windows(connection)
    for n, action in ((1, "held"), (2, "promoted")):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == action
    assert serving.serving(connection, LINEAGE).step == 2


def test_a_checkpoint_that_was_held_is_evaluated_again_on_a_new_set(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(min_eval_groups=3)
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.4})
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    assert evaluated(settings, trainer).action == "held"
    assert evaluated(settings, trainer).action == "idle"

    held_out_windows(connection, 4)
    trainer.values[1] = 0.7

    assert evaluated(settings, trainer).action == "promoted"
    assert trainer.evaluated == [(0, 1), (0, 1)]
    assert serving.serving(connection, LINEAGE).step == 1


@pytest.mark.parametrize(
    ("name", "strict", "loose"), [("min_eval_groups", 4, 3), ("min_eval_coverage", 0.95, 0.5)]
)
def test_a_hold_for_lack_of_evidence_lasts_until_less_is_enough(
    connection: Connection,
    make_settings: Callable[..., Settings],
    name: str,
    strict: float,
    loose: float,
) -> None:
    settings, lower = (make_settings(**{"min_eval_groups": 3, name: n}) for n in (strict, loose))
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.7})
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)

    actions = [evaluated(one, trainer).action for one in (settings, settings, lower)]

    assert actions == ["held", "idle", "promoted"]
    assert len(trainer.evaluated) == 1, "what is on record is not evaluated again"


def test_a_checkpoint_that_was_held_is_evaluated_again_beside_another_that_serves(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        last = evaluated(settings, trainer)
    assert last.action == "held"

    serving.promote(connection, LINEAGE, 0, reason="r", figures={}, actor="operator")
    again = evaluated(settings, trainer)

    assert (again.action, again.candidate, again.serving) == ("held", 2, 0)
    assert "against the serving checkpoint 0" in again.reason


def test_what_served_long_before_is_evaluated_too_and_small_losses_do_not_add_up(
    connection: Connection, settings: Settings
) -> None:
    """Each step loses less than the tolerance, so none is refused against the one before."""
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.493, 2: 0.486, 3: 0.493})
    held_out_windows(connection)
    for n, action in ((1, "promoted"), (2, "held"), (3, "promoted")):
        trained(connection, settings, trainer, n)
        last = evaluated(settings, trainer)
        assert last.action == action, last.reason

    assert trainer.evaluated == [(0, 1), (2,), (3,)], "on the same set nothing is evaluated twice"
    held_out_windows(connection, 4)
    trained(connection, settings, trainer, 4)
    evaluated(settings, trainer)
    assert trainer.evaluated[-1] == (0, 3, 4)


def test_every_second_group_is_of_the_newest_hours_up_to_the_budget_but_as_many_as_decide(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    held_out_windows(connection, 6)

    def taken(**settings: int) -> list[str]:
        made = make_settings(min_eval_groups=2, **settings)
        return [one.window_id[11:13] for one in held_out_set(connection, made, actor="test")]

    groups = held_out_set(connection, make_settings(), actor="test")
    cost = held_out.tokens(groups[0])
    assert {held_out.tokens(one) for one in groups} == {cost}

    assert sorted(taken(max_eval_tokens=6 * cost)) == ["00", "01", "02", "03", "04", "05"]
    older, second, newest = taken(max_eval_tokens=4 * cost - 1)
    assert (newest, second) == ("05", "04")
    assert older < "04"
    assert taken(max_eval_tokens=cost) == [older, "05"]  # fewer would decide nothing
    assert taken(max_eval_tokens=cost - 1) == []


def test_where_groups_are_left_out_as_too_large_and_too_few_are_left_the_log_says_so(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    held_out_windows(connection, 3)

    with capture_logs() as logged:
        held_out_set(connection, make_settings(min_eval_groups=4), actor="test")
    assert logged == [], "there are no more"
    with capture_logs() as logged:
        held_out_set(connection, make_settings(max_eval_tokens=1), actor="test")

    (said,) = logged
    assert (said["event"], said["left_out"], said["groups"]) == ("held_out_groups.omitted", 3, 0)
    assert "raise BABYLON_MAX_EVAL_TOKENS" in said["todo"]


def test_after_five_refusals_in_a_row_the_next_is_evaluated_on_other_groups_of_the_past(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    held_out_windows(connection, 20)
    cost = held_out.tokens(held_out_set(connection, make_settings(), actor="test")[0])
    settings = make_settings(min_eval_groups=3, max_eval_tokens=8 * cost)
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5} | dict.fromkeys(range(1, 9), 0.4))
    for n in range(1, 6):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == "held"
    sets = "SELECT DISTINCT windows FROM training.evaluations"
    (first,) = column(connection, sets)

    trained(connection, settings, trainer, 6)
    assert evaluated(settings, trainer).action == "held"

    assert trainer.evaluated[-2:] == [(5,), (0, 6)]
    (second,) = [one for one in column(connection, sets) if one != first]
    assert set(first[-2:]) == set(second[-2:]), "of the newest hours there is no other choice"


def test_where_the_budget_holds_all_groups_another_draw_is_the_same_set(
    connection: Connection, settings: Settings
) -> None:
    held_out_windows(connection, 6)

    first, second = (held_out_set(connection, settings, actor="test", draw=n) for n in (0, 1))

    assert first == second


def test_held_out_groups_without_spread_are_left_out(
    connection: Connection, settings: Settings
) -> None:
    held_out_windows(connection, 2)
    scored_window(connection, WINDOW, (0.5, 0.5), state="held_out")
    scored_window(connection, WINDOW, (0.0, 1.0), key="m-1", state="held_out")

    groups = held_out_set(connection, settings, actor="test")

    assert len(groups) == 3
    assert (WINDOW, "") not in {(group.window_id, group.key) for group in groups}


def test_calls_whose_prompt_is_not_all_text_are_not_evaluated(
    connection: Connection, settings: Settings
) -> None:
    """The model that is evaluated would be shown another prompt than the one that was answered."""
    read, seen = exact_call("YES"), exact_call("YES", carries="images")
    scored_window(connection, state="held_out", calls=[seen, read])
    scored_window(connection, state="held_out", calls=[seen], key="pictures")

    (group,) = held_out_set(connection, settings, actor="test")

    assert {(len(one.calls), one.places) for one in group.members} == {(1, (1,))}
