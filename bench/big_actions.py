"""All that runs each minute or for each window, and the commands that read, in this process.

``bench.big_database`` measures it; an integration test looks at the plan of each statement of it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psycopg

from babylon_tasks.cli import main as command
from babylon_tasks.dataset.training_defaults import training_values
from babylon_tasks.db import due_windows, gauges, invariants, lineages
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.plan_step import Planner
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks import comparison_metrics, cost_metrics
from babylon_tasks.training.protocol import Inspected
from bench.big_rows import AGES, WAITING, Filled

ROOT = Path(__file__).resolve().parent.parent
Action = Callable[[Settings, int], None]  # with the number of its run


def actions(filled: Filled) -> Iterator[tuple[str, Action]]:
    """List what is measured, with a number that differs in each run."""
    for age in AGES:
        yield f"score, {age}", partial(_score, filled.waiting[age])
    for age in AGES:
        yield f"plan, {age}", partial(_plan, filled.waiting[age][0])
    yield "claim", _claim
    yield "discover", _discover
    yield "reconcile", _reconcile
    yield "metrics", _metrics
    yield "KEDA", _keda
    for age in AGES:
        yield f"why, {age}", partial(_run, ("why", filled.trained(age)))
        yield f"show, {age}", partial(_run, ("show", filled.trained(age)))
    for words in (
        ("verify-data", "--since", "24h"),
        ("windows", "list"),
        ("status",),
        ("report", "--since", "2d"),
        ("models", "list"),
        ("cost", "--since", "2d"),
    ):
        yield " ".join(words), partial(_run, words)
    yield "doctor --invariants", _violations


def actions_with_index(filled: Filled) -> Iterator[tuple[str, Action]]:
    """List what is measured once more with an index of the rows that name no hour."""
    for age in AGES:
        yield f"score, {age}, with an index", partial(_score, filled.waiting[age][WAITING // 2 :])
    yield "discover, with an index", _discover
    yield "reconcile, with an index", _reconcile
    yield "verify-data, with an index", partial(_run, ("verify-data", "--since", "24h"))


def _score(windows: Sequence[str], settings: Settings, number: int) -> None:
    scoring = score_window(settings, windows[number], actor="bench")
    assert scoring.claimed, scoring


def _discover(settings: Settings, _: int) -> None:
    discover(settings, actor="bench")


def _reconcile(settings: Settings, _: int) -> None:
    reconcile(settings, actor="bench")


def _uninspected(_: Group, __: str) -> Inspected:
    return Inspected((), ())


def _plan(window: str, settings: Settings, _: int) -> None:
    """Plan a step from a window, and take it back."""
    with session(settings) as connection, connection.transaction() as transaction:
        lease = lineages.claim(connection, settings.lineage, "bench", 60)
        assert lease is not None
        planner = Planner(
            connection,
            settings,
            lease,
            backend="cpu",
            head_step=lease.head_step,
            inspect=_uninspected,
            values=training_values(settings, "cpu", 135_000_000),
            actor="bench",
        )
        planned = planner.plan(window)
        assert planned.step is not None, planned.skipped
        raise psycopg.Rollback(transaction)


def _claim(settings: Settings, _: int) -> None:
    """Pick the next window to score, as a worker does that has finished one."""
    with session(settings) as connection, connection.transaction() as transaction:
        assert due_windows.pick_to_score(connection, settings, limit=1)
        raise psycopg.Rollback(transaction)


def _metrics(settings: Settings, _: int) -> None:
    """Read what beat exports at each scrape, but for Redis."""
    with session(settings) as connection:
        gauges.read(connection, settings.lineage, settings.lease_seconds)
        list(comparison_metrics.samples(connection, settings))
        list(cost_metrics.samples(connection, settings))


def _keda(settings: Settings, _: int) -> None:
    """Ask what KEDA asks every half minute."""
    with session(settings) as connection:
        for path in ("overlays/production", "components/scale-to-zero"):
            text = (ROOT / "k8s" / path / "scaling.yaml").read_text("utf-8")
            words = text.partition(" query:")[2].partition("targetQueryValue")[0]
            connection.execute(words.strip().removeprefix(">-").encode())


def _violations(settings: Settings, _: int) -> None:
    """Check every invariant."""
    with session(settings, silence=3600) as connection:
        found = invariants.violations(connection, settings)
    odd = {one.invariant for one in found} - {"steps_not_kept_whole"}
    assert not odd, [one for one in found if one.invariant in odd][:3]


def _run(words: Sequence[str], settings: Settings, _: int) -> None:
    """Run a command in this process."""
    given = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "BABYLON_LOG_LEVEL": "ERROR",
    }
    printed = io.StringIO()
    code: object = None
    try:
        with (
            patch.dict(os.environ, given),
            redirect_stdout(printed),
            redirect_stderr(printed),
        ):
            load_settings.cache_clear()
            command(words)
    except SystemExit as ended:
        code = ended.code
    finally:
        load_settings.cache_clear()
    assert not code, printed.getvalue()[-2000:]
