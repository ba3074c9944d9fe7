"""What a step was trained on is kept from its plan on, for as long as the settings say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories import WINDOW
from scored_windows import column, hour, scored_window
from training_steps import crash_before_commit, peer, train

from babylon_tasks.dataset.manifest import from_row
from babylon_tasks.db import kept_members, lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=2, lookback_hours=48)


def kept(connection: Connection) -> list[str]:
    """The hashes that are kept, of all steps."""
    return [
        str(one)
        for one in column(
            connection, "SELECT encode(content, 'hex') FROM training.step_members ORDER BY 1"
        )
    ]


def listed(connection: Connection) -> list[str]:
    """The hashes that the manifests of all steps list."""
    manifests = column(connection, "SELECT manifest FROM training.steps")
    return sorted(entry.content for one in manifests for _, entry in from_row(one).entries)


def ages(connection: Connection, days: int = 31) -> None:
    connection.execute(
        "UPDATE training.steps SET committed_at = committed_at - make_interval(days => %s)",
        (days,),
    )


def test_each_trajectory_of_a_step_is_kept_before_it_is_trained_on(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    seen: list[list[str]] = []

    train(settings, peer(settings, during=lambda: seen.append(kept(connection))))

    assert len(kept(connection)) == 4
    assert kept(connection) == listed(connection) == seen[0]


def test_of_a_step_that_fails_nothing_is_kept(connection: Connection, settings: Settings) -> None:
    scored_window(connection)

    assert train(settings, peer(settings, falls="refuses")).action == "failed"

    assert listed(connection)
    assert kept(connection) == []
    assert column(connection, "SELECT count(*) FROM training.step_bets") == [0]


def test_after_a_crash_the_step_that_is_taken_over_has_what_its_plan_kept(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)
    crash_before_commit(settings, monkeypatch)
    before = kept(connection)
    connection.execute("UPDATE training.lineages SET lease_until = now() - interval '1 second'")
    connection.execute("DELETE FROM trajectories")

    assert train(settings, peer(settings)).action == "adopted"

    assert kept(connection) == before == listed(connection)


def test_with_0_days_nothing_is_kept(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    scored_window(connection)

    assert train(make_settings(keep_replay_days=0), peer(make_settings())).step == 1

    assert kept(connection) == []
    assert column(connection, "SELECT members_kept_at FROM training.steps") == [None]


def test_it_goes_by_the_age_of_the_step(connection: Connection, settings: Settings) -> None:
    for number in (1, 2):
        scored_window(connection, hour(number))
        train(settings, peer(settings), hour(number))
        ages(connection, days=20)

    assert prune_rows(settings, actor="test").replays == 1
    assert prune_rows(settings, actor="test").replays == 0

    assert column(
        connection,
        "SELECT DISTINCT s.target_step FROM training.step_members"
        " JOIN training.steps s ON s.id = step_id",
    ) == [2]
    assert column(
        connection, "SELECT members_pruned_at IS NOT NULL FROM training.steps ORDER BY id"
    ) == [True, False]


def test_what_a_worker_of_an_earlier_release_has_failed_goes_too(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    train(settings, peer(settings))
    connection.execute("UPDATE training.steps SET state = 'failed', committed_at = NULL")

    assert prune_rows(settings, actor="test").replays == 1
    assert kept(connection) == []


@pytest.mark.parametrize("replay_first", [True, False])
def test_a_manifest_keeps_its_list_while_the_step_can_be_replayed(
    connection: Connection, make_settings: Callable[..., Settings], replay_first: bool
) -> None:
    """Whichever goes last, the rows of the step's hours or what it was trained on."""
    long, short = {"keep_rows_days": 90, "keep_replay_days": 10}, {"keep_replay_days": 90}
    first, both = (long, short | {"keep_replay_days": 10}) if replay_first else (short, long)
    common = {"lookback_hours": 48, "max_staleness_hours": 48, "outcome_wait_hours": 0}
    scored_window(connection)
    train(make_settings(), peer(make_settings()), WINDOW)
    lists = "SELECT jsonb_array_length(manifest -> 'groups') FROM training.steps"
    connection.execute(
        "UPDATE training.windows SET updated_at = updated_at - interval '31 days',"
        " starts_at = starts_at - interval '31 days'"
    )
    ages(connection)

    prune_rows(make_settings(**common, **first), actor="test")
    assert column(connection, lists) == [1]

    prune_rows(make_settings(**common, **{**both, "keep_rows_days": 30}), actor="test")
    assert column(connection, lists) == [0]


def test_each_lineage_keeps_its_own(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    """A step's are found by the step: what one lineage prunes, another does not miss."""
    one, other = make_settings(), make_settings(lineage="other")
    for settings in (one, other):
        lineages.ensure(connection, settings)
    scored_window(connection, model="SmolLM2-135M-Instruct")
    for settings in (one, other):
        train(settings, peer(settings, lineage=settings.lineage), WINDOW)
    assert len(kept(connection)) == 8
    first, second = column(connection, "SELECT id FROM training.steps ORDER BY id")

    assert isinstance(first, int)
    kept_members.forget(connection, first)

    assert column(connection, "SELECT DISTINCT step_id FROM training.step_members") == [second]
