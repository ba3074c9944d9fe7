"""Postgres takes no writes for longer than a lease: who lives gives back what it has, uncounted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from factories import WINDOW, fill_window
from outages import Outage
from peer import PeerTrainer
from scored_windows import column, scored_window
from scoring_runs import MakeSettings, events, one, run, seal
from training_steps import kinds, peer, state, train

from babylon_tasks.db import scoring as claims
from babylon_tasks.db.scoring import Claim
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import BabylonTasksError, DatabaseError, DatabaseUnavailable, StaleLease
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline import patient_write
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.release_claim import release_claim
from babylon_tasks.pipeline.run_step import StepRunner
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")  # it waits for leases, whatever the contract

LEASE = 1.2
AS_OFTEN_AS_IT_MAY_FAIL = 3


# --- scoring


def test_no_outage_uses_up_an_attempt_of_the_window_that_is_scored(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    settings = make_settings(
        read_batch=1, max_attempts=3, retry_delay_seconds=0, lease_seconds=LEASE, circuit_faults=99
    )

    for _ in range(AS_OFTEN_AS_IT_MAY_FAIL):
        outage = Outage(connection, 2 * LEASE)
        with pytest.raises(DatabaseError):
            score_window(settings, WINDOW, actor="test", on_progress=outage.begin)
        outage.await_end()
        reconcile(settings, actor="test")
        assert one(connection, "state, attempt, reason") == ("sealed", 0, None)

    assert run(settings).state == "scored"
    assert "claim_lost" not in events(connection)


def others_reconcile(settings: Settings) -> None:
    reconcile(settings, actor="other")


def others_score(settings: Settings) -> None:
    score_window(settings, WINDOW, actor="other")


class Others:
    """Others who work all the time, and fail while Postgres takes no writes."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._ended = threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._repeat)

    def begin(self) -> None:
        """Begin, unless they have begun before."""
        if self._thread.ident is None:
            self._thread.start()

    def end(self) -> None:
        """End what they do."""
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(0.01):
            with suppress(BabylonTasksError):
                self._work()


@pytest.mark.parametrize("work", [others_reconcile, others_score])
def test_whoever_finds_an_expired_claim_first_leaves_it_to_an_owner_that_lives(
    make_settings: MakeSettings, connection: Connection, work: Callable[[Settings], None]
) -> None:
    fill_window(connection)
    seal(connection)
    lease = 4.0  # of which an eighth is its owner's
    settings = make_settings(
        read_batch=1, max_attempts=1, retry_delay_seconds=0, lease_seconds=lease, circuit_faults=99
    )
    outage, others = Outage(connection, 1.2 * lease), Others(lambda: work(settings))

    def strike(*_: Any) -> None:
        outage.begin()
        others.begin()

    try:
        with pytest.raises(DatabaseError):
            score_window(settings, WINDOW, actor="test", on_progress=strike)
        outage.await_end()
    finally:
        others.end()

    assert one(connection, "state")[0] in ("sealed", "scored"), "another may score it at once"
    assert "claim_lost" not in events(connection)


def test_an_owner_ends_its_own_dead_session_which_locks_what_it_wants_to_give_back(
    make_settings: MakeSettings, connection: Connection
) -> None:
    """The only worker waits here, and no upkeep runs that would end that session."""
    fill_window(connection)
    seal(connection)
    settings = make_settings(lease_seconds=LEASE, database_timeout_seconds=1)
    with session(settings) as opened:
        claimed = claims.claim(opened, WINDOW, "test/1", settings, actor="test")
    assert isinstance(claimed, Claim)
    dead = psycopg.connect(
        settings.database_url.get_secret_value(), application_name="babylon-tasks"
    )
    dead.execute("SELECT FROM training.windows FOR UPDATE")
    dead.execute("CREATE TEMPORARY TABLE spool (line text)")
    with suppress(psycopg.OperationalError), dead.cursor().copy("COPY spool FROM STDIN") as rows:
        rows.write("one\n")
        dead.pgconn.flush()
        ending = threading.Thread(
            target=release_claim,
            args=(settings, claimed, "lost", Fault.CONNECTION_LOST),
            kwargs={"actor": "test"},
            daemon=True,
        )
        ending.start()
        ending.join(60)  # the bound ends a hanging test
        assert not ending.is_alive()
    dead.close()
    assert one(connection, "state, attempt") == ("sealed", 0)


AWAY = Claim(WINDOW, "test/1", 1, 1, held_out=False, expected=None)


def unreachable(make_settings: MakeSettings) -> Settings:
    return make_settings(DATABASE_URL=f"postgresql://babylon@127.0.0.1:{free_port()}/babylon")


def test_a_worker_that_is_stopped_while_it_waits_for_postgres_ends_at_once(
    make_settings: MakeSettings,
) -> None:
    def stop(*_: Any) -> None:
        raise SystemExit

    before = signal.signal(signal.SIGUSR1, stop)
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        with pytest.raises(SystemExit):
            release_claim(
                unreachable(make_settings), AWAY, "lost", Fault.CONNECTION_LOST, actor="test"
            )
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_wait_for_postgres_has_an_end(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_write, "PATIENCE_SECONDS", 0.5)
    ending = threading.Thread(
        target=release_claim,
        args=(unreachable(make_settings), AWAY, "lost", Fault.CONNECTION_LOST),
        kwargs={"actor": "test"},
        daemon=True,
    )
    ending.start()
    ending.join(30)  # the bound ends a hanging test
    assert not ending.is_alive()


# --- training


def starve(trainer: PeerTrainer, outage: Outage) -> Callable[[], None]:
    """Let an outage begin in the middle of a step, which goes on until its trainer is killed."""

    def during() -> None:
        outage.begin()
        deadline = time.monotonic() + 60
        while not trainer.killed:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return during


def test_no_outage_uses_up_an_attempt_of_a_window_in_training(
    make_settings: MakeSettings, connection: Connection
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=3, lease_seconds=LEASE)
    scored_window(connection)

    for _ in range(AS_OFTEN_AS_IT_MAY_FAIL):
        trainer, outage = peer(settings), Outage(connection, 2 * LEASE)
        trainer.during = starve(trainer, outage)
        with pytest.raises(StaleLease):
            train(settings, trainer)
        outage.await_end()
        assert column(connection, "SELECT tries FROM training.steps") == [0]
        assert column(connection, "SELECT training_tries FROM training.windows") == [0]
        assert state(connection) == "training"
        [why] = column(connection, "SELECT error FROM training.steps")
        assert "could not be renewed" in str(why)

    assert train(settings, peer(settings)).action == "committed"
    assert (state(connection), column(connection, "SELECT reason FROM training.windows")) == (
        "trained",
        [None],
    )
    assert "failed" not in kinds(connection)


def test_a_run_that_ends_because_its_progress_cannot_be_written_is_no_attempt(
    make_settings: MakeSettings, connection: Connection
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=1)
    scored_window(connection)

    def lose(_: Any) -> None:
        raise DatabaseUnavailable("the connection to Postgres was lost")

    for _ in range(AS_OFTEN_AS_IT_MAY_FAIL):
        with pytest.raises(DatabaseUnavailable):
            train_window(settings, peer(settings), window=None, actor="test", on_progress=lose)
        assert column(connection, "SELECT tries FROM training.steps") == [0]
    assert train(settings, peer(settings)).action == "committed"


def test_a_step_that_was_planned_and_could_not_begin_has_its_first_run_before_it(
    make_settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=1)
    scored_window(connection)

    def lose(*_: Any) -> None:
        raise DatabaseUnavailable("the connection to Postgres was lost")

    with monkeypatch.context() as patch:
        patch.setattr(StepRunner, "train", lose)
        with pytest.raises(DatabaseUnavailable):
            train(settings, peer(settings))
    assert column(connection, "SELECT state FROM training.steps") == ["planned"]

    assert train(settings, peer(settings)).action == "committed"
    assert column(connection, "SELECT tries FROM training.steps") == [1]
