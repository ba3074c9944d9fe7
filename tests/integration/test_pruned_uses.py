"""No trajectory is used twice, also where the row that says it was used is pruned."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator

import pytest
from command_line import one_contract
from factories import EVER, exact_call, insert_trajectories, step, trajectory
from moved_rows import moved_to, scored_in
from peer import PeerTrainer
from planned_steps import manifest
from psycopg import sql
from scored_windows import column, hour, scored_window

from babylon_tasks.db import lineages, old_rows, steps
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.steps import Step
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

MOVES = 50


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        lookback_hours=int(EVER),
        max_staleness_hours=int(EVER),
        outcome_wait_hours=0,
        grace_seconds=0,
        retry_delay_seconds=0,
        upkeep_interval_seconds=0.001,
        min_group_size=2,
        max_group_size=4,
        step_token_budget=150,
        held_out_share=0.1,
    )


def hour_of_days(number: int) -> str:
    return f"2026-01-{10 + number // 24}T{number % 24:02d}:00"


class World:
    """Babylon records, moves, deletes and restores rows, while windows are trained and pruned."""

    def __init__(self, connection: Connection, settings: Settings, seed: int) -> None:
        self.connection = connection
        self.settings = settings
        self.rng = random.Random(seed)
        self.log: list[str] = []
        self.trained: dict[str, int] = {}  # by which step's row
        self.deleted: list[str] = []  # rows, as JSON
        self.pruned: set[object] = set()
        self.hours = 1

    def rows_arrive(self) -> None:
        self.hours += self.rng.choice([0, 1])
        window = hour_of_days(self.hours)
        # A recorder may name the hour in which it writes, or none.
        began = hour_of_days(self.hours - self.rng.choice([0, 0, 0, 1]))
        rows = []
        for number in range(self.rng.randrange(4, 7)):
            calls = [step(0, [exact_call(self.rng.choice(["YES", "NO"]))], window=began)]
            made = trajectory(began, f"agent-{number}", calls)
            made["windowId"] = self.rng.choice([window, window, None])
            made["finalPnL"] = self.rng.choice([-300.0, 0.0, 250.0, 900.0])
            rows.append(made)
        insert_trajectories(self.connection, rows)

    def used_row_moves(self) -> None:
        if self.trained:
            # Most to an hour that is not sealed yet: the others take nobody in.
            to = hour_of_days(
                self.rng.choice([self.hours + 1] * 4 + [self.rng.randrange(self.hours)])
            )
            some = self.rng.choices(sorted(self.trained), k=4)
            moved_to(self.connection, some, self.rng.choice([to, to, to, None]))

    def used_row_is_deleted(self) -> None:
        if self.trained:
            self.deleted += [
                json.dumps(row)
                for row in column(
                    self.connection,
                    'DELETE FROM trajectories WHERE "trajectoryId" = %s RETURNING to_jsonb('
                    "trajectories)",
                    self.rng.choice(sorted(self.trained)),
                )
            ]

    def deleted_row_is_restored(self) -> None:
        if self.deleted:
            row = self.deleted.pop(self.rng.randrange(len(self.deleted)))
            self.connection.execute(
                "INSERT INTO trajectories SELECT * FROM jsonb_populate_record("
                "NULL::trajectories, %s::jsonb || '{\"usedInTraining\": false}')",
                (row,),
            )

    def beat(self) -> None:
        for moment in ("scored_at", "sealed_at", "enqueued_at", "late_checked_at"):
            self.connection.execute(
                sql.SQL("UPDATE training.windows SET {0} = {0} - interval '1 hour'").format(
                    sql.Identifier(moment)
                )
            )
        discover(self.settings, actor="test")
        reconcile(self.settings, actor="test")

    def score(self) -> None:
        for window in column(
            self.connection, "SELECT window_id FROM training.windows WHERE state = 'sealed'"
        ):
            score_window(self.settings, str(window), actor="test")

    def train(self) -> None:
        train_window(self.settings, PeerTrainer(self.settings.data_dir), window=None, actor="test")
        # Pruning shortens manifests, so they are read at once.
        for step_id, made in self.connection.execute(
            "SELECT id, manifest FROM training.steps WHERE state = 'committed' ORDER BY id"
        ):
            for group in made["groups"]:
                for member in group["members"]:
                    first = self.trained.setdefault(member["trajectory_id"], step_id)
                    assert first == step_id, f"used twice: {member['trajectory_id']}, {self.log}"

    def work(self) -> None:
        self.beat()
        self.score()
        self.train()

    def prune(self) -> None:
        for window in old_rows.ended(self.connection, 0, limit=100):
            if self.rng.random() < 0.7:
                old_rows.prune(self.connection, window, 0, actor="test")

    def move(self) -> None:
        made = self.rng.choices(
            [
                self.rows_arrive,
                self.used_row_moves,
                self.used_row_is_deleted,
                self.deleted_row_is_restored,
                self.work,
                self.prune,
            ],
            [6, 6, 1, 2, 8, 5],
        )[0]
        self.log.append(made.__name__)
        made()

    def check(self) -> None:
        pruned = set(
            column(
                self.connection,
                "SELECT window_id FROM training.windows WHERE rows_pruned_at IS NOT NULL"
                " AND state IN ('trained', 'skipped', 'held_out')",
            )
        )
        assert pruned >= self.pruned, f"a pruned window has begun again: {self.log}"
        self.pruned = pruned
        assert violations(self.connection, self.settings) == [], self.log


@one_contract
@pytest.mark.parametrize("seed", range(4))
def test_no_trajectory_is_used_twice_whatever_is_pruned_moved_or_restored_in_whatever_order(
    seed: int, connection: Connection, settings: Settings
) -> None:
    world = World(connection, settings, seed)
    for _ in range(MOVES):
        world.move()
        world.check()

    assert world.pruned, "or nothing was shown"
    assert world.trained


def used_and_pruned(connection: Connection, settings: Settings) -> list[str]:
    """The trajectories of a window that is trained and pruned."""
    ids = scored_window(connection, hour(1))
    assert train_window(settings, PeerTrainer(settings.data_dir), window=None, actor="test").step
    assert old_rows.prune(connection, hour(1), 0, actor="test")
    return ids


def test_what_began_in_a_pruned_hour_is_refused_by_name_in_any_other(
    connection: Connection, settings: Settings
) -> None:
    ids = used_and_pruned(connection, settings)
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]
    scored_window(connection, hour(2), key="fresh", rewards=(0.5, 0.5))
    connection.execute('DELETE FROM trajectories WHERE "windowId" = %s', (hour(2),))
    moved_to(connection, ids, hour(2))
    for number, one in enumerate(ids):
        scored_in(connection, one, hour(2), number / 4)

    outcome = train_window(settings, PeerTrainer(settings.data_dir), window=None, actor="test")

    assert outcome.skipped == {hour(2): "hour_pruned"}
    (detail, *_) = column(
        connection, "SELECT detail FROM training.rejections WHERE reason = 'hour_pruned'"
    )
    assert f"began in {hour(1)}, whose rows are pruned" in str(detail)


def test_a_use_that_another_hour_may_still_need_stays_with_its_score(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, hour(1), (0.0, 0.25, 0.5, 0.75, 1.0))
    trainer = PeerTrainer(settings.data_dir)
    while train_window(settings, trainer, window=None, actor="test").step:
        pass
    assert column(connection, "SELECT count(*) FROM training.consumption") == [5]
    moved_to(connection, ids[:1], hour(2))
    connection.execute(  # which began in an hour that nobody has pruned
        'UPDATE trajectories SET "startTime" = "startTime" + interval \'1 day\''
        ' WHERE "trajectoryId" = ANY (%s)',
        (ids[1:3],),
    )
    scored_window(connection, hour(2))
    for moved in (ids[0], ids[2], ids[3]):  # the last one has come back
        scored_in(connection, moved, hour(2), 0.5)
    # Babylon may restore it, there.
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', (ids[2],))

    old_rows.prune(connection, hour(1), 0, actor="test")

    for table in ("consumption", "scores"):
        kept = column(
            connection,
            f"SELECT trajectory_id FROM training.{table} WHERE window_id = %s ORDER BY 1",  # noqa: S608
            hour(1),
        )
        assert kept == sorted(ids[:4])
    assert violations(connection, settings) == []


@pytest.fixture
def other(settings: Settings) -> Iterator[Connection]:
    with connect(settings) as opened:
        yield opened


def test_a_step_that_is_planned_while_a_use_is_being_deleted_waits_and_takes_nothing(
    connection: Connection, other: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, hour(1))
    trainer = PeerTrainer(settings.data_dir)
    assert train_window(settings, trainer, window=None, actor="test").step
    scored_window(connection, hour(2))
    made = json.dumps(manifest(connection)).encode()
    lease = lineages.claim(connection, "babylon", "test", 60)
    assert lease is not None
    planned: list[Step | None] = []

    def plan() -> None:
        # As if it had read the row before the hour was pruned.
        use = Use(ids[0], 1, hour(2), "trained")
        windows = {hour(2): 1}
        planned.append(
            steps.plan(
                other,
                lease,
                backend="cpu",
                windows=windows,
                manifest=made,
                manifest_hash="hash",
                uses=[use],
                actor="test",
            )
        )

    planner = threading.Thread(target=plan)
    with connection.transaction():
        assert old_rows.prune(connection, hour(1), 0, actor="test")
        planner.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while column(connection, waiting) == [0] and planner.is_alive():
            connection.execute("SELECT pg_stat_clear_snapshot()")
    planner.join()

    assert planned == [None]
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]
    assert (
        column(connection, "SELECT state FROM training.windows WHERE window_id = %s", hour(2))[0]
        == "scored"
    )
