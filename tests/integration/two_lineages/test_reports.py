"""Reports, messages of beat and metrics show each of two lineages its own."""

from __future__ import annotations

from captured_calls import captured_call, passed_on_call
from factories import EVER, WINDOW
from two_lineages import NAMES, Lineage, Make, agents_of, silence

from babylon_tasks.cli import gateway_checks
from babylon_tasks.db import calls, old_rows, progress, reports, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.live_lineages import live_lineages
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.reasons import Reason
from babylon_tasks.tasks.system_metrics import SystemMetrics
from babylon_tasks.windows import window_start

# --- reports


def test_each_lineage_sees_its_own_state(connection: Connection, two: list[Lineage]) -> None:
    babylon, other = two
    agents_of(connection, "other")
    babylon.train(WINDOW)

    for one, state in ((babylon, "skipped"), (other, "scored")):
        assert [w.state for w in windows.list_windows(connection, lineage=one.name)] == [state]
        assert windows.counts(connection, lineage=one.name)[state] == 1
        seen = progress.of_window(connection, one.name, WINDOW)
        assert seen is not None
        assert seen.state == state
        history = reports.history(connection, WINDOW, lineage=one.name)
        assert history.window.state == state
        assert [(was.lineage, was.state) for was in history.lineages] == [("babylon", "skipped")]
        assert bool(history.rejections) == (one is babylon)
    system = reports.system_state(connection, "babylon")
    assert (system.oldest_due, system.others) == (None, ["other"])
    due = reports.system_state(connection, "other").oldest_due
    assert due is not None
    assert (due.window, due.state) == (WINDOW, "scored")


def test_what_one_lineage_refuses_and_uses_is_not_counted_for_the_other(
    connection: Connection, two: list[Lineage]
) -> None:
    for name in NAMES:
        agents_of(connection, name)
    for one in two:
        one.train(WINDOW)

    def figures() -> list[object]:
        found: list[object] = []
        for one in two:
            seen = progress.of_window(connection, one.name, WINDOW)
            history = reports.history(connection, WINDOW, lineage=one.name)
            assert seen is not None
            assert [step.lineage for step in history.steps] == [one.name]
            assert {event.lineage for event in history.events} <= {None, one.name}
            refused = {row.reason: row.count for row in history.rejections}
            data = verify_data(one.settings).windows[0]
            found.append((seen.rejected, refused, history.uses, data.usable, data.rejected))
        return found

    theirs = {Reason.OTHER_POLICY: 4}
    each = (theirs, theirs, {"trained": 4}, 4, theirs)
    assert figures() == [each, each]
    connection.execute("UPDATE training.windows SET updated_at = now() - interval '1 hour'")
    assert old_rows.prune(connection, WINDOW, 0, actor="test") is not None
    assert figures() == [each, each]


def test_each_lineage_sees_what_the_gateway_captured_of_its_own(
    connection: Connection, two: list[Lineage]
) -> None:
    tempered = '{"temperature":0.7,"top_p":1,"others":[]}'
    seen = [
        captured_call(asked_at=window_start(WINDOW)),
        captured_call(asked_at=window_start(WINDOW), lineage="other", sampling=tempered),
        passed_on_call(asked_at=window_start(WINDOW), lineage="other", arm="control"),
    ]
    calls.insert(connection, seen, float(EVER))
    row = agents_of(connection, "other")[0]
    connection.execute("UPDATE training.calls SET trajectory_id = %s, place = 0", [row])
    connection.execute("UPDATE training.windows SET state = 'skipped'")

    def found(lineage: str) -> reports.CapturedHour | None:
        return reports.system_state(connection, lineage).captures

    assert found("babylon") == reports.CapturedHour(WINDOW, 1, 1, 1, 0, 0, 0, 0)
    assert found("other") == reports.CapturedHour(WINDOW, 1, 1, 1, 1, 1, 1, 0)
    assert found("third") is None
    outcomes = [
        [one.outcome for one in gateway_checks.captures(connection, each.settings)] for each in two
    ]
    assert outcomes == [["ok"], ["warn"]]


# --- what one beat does for all


def test_one_beat_sends_for_every_lineage(
    connection: Connection, two: list[Lineage], make_settings: Make
) -> None:
    agents_of(connection, "other")
    found = reconcile(two[0].settings, actor="test")
    assert (found.to_train, found.others) == ([WINDOW], {"other": [WINDOW]})
    connection.execute("UPDATE training.lineage_windows SET enqueued_at = NULL")
    seen = discover(two[1].settings, actor="test")
    assert (seen.to_train, seen.others) == ([WINDOW], {"babylon": [WINDOW]})

    two[0].train(WINDOW)
    two[1].train(WINDOW)
    connection.execute("UPDATE training.checkpoints SET created_at = now() - interval '1 day'")
    left = reconcile(two[0].settings, actor="test")
    assert (left.to_train, left.others) == ([], {"other": [None]}), "its head is not evaluated"
    assert live_lineages(two[1].settings) == ["other", "babylon"]
    silence(connection, "babylon")
    assert live_lineages(two[1].settings) == ["other"]
    assert live_lineages(make_settings(lineage="third")) == ["third", "other"]


def test_one_beat_exports_the_figures_of_every_lineage(
    connection: Connection, two: list[Lineage], redis_url: str, make_settings: Make
) -> None:
    agents_of(connection, "other")
    two[0].train(WINDOW)
    collector = SystemMetrics(make_settings(REDIS_URL=redis_url))
    figures = {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }
    assert figures["babylon_windows", "babylon", "skipped"] == 1
    assert figures["babylon_windows", "other", "scored"] == 1
    assert figures["babylon_windows", "other", "skipped"] == 0
    assert figures["babylon_queue_messages", "gpu.other"] == 0
    assert figures["babylon_head_step", "other"] == 0
