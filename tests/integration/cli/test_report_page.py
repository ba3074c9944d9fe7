"""A run's report as a picture and as a page: what is in them, and what never is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from drawn_words import words
from msgspec import structs
from page_elements import HOSTILE, Elements, pictures
from recorded_ramp import PARAMETERS, ramp
from recorded_ramp import rows as compared_rows
from reported_run import extremes, hour, run_rows

from babylon_tasks.cli.reason_words import why_not_used
from babylon_tasks.cli.report_curves import draw
from babylon_tasks.cli.report_page import page
from babylon_tasks.comparison.history import history
from babylon_tasks.cost.ledger import ledger
from babylon_tasks.cost.records import CostRecords, MeasuredRun, Prices
from babylon_tasks.reasons import WindowReason
from babylon_tasks.run_history import RunHistory, run_history
from babylon_tasks.run_records import RunRows

pytestmark = pytest.mark.contract(None)
LATER = "2026-08-01 00:00:00"


def made(rows: RunRows) -> RunHistory:
    found = run_history(rows)
    assert found is not None
    return found


def test_each_panel_says_what_it_is() -> None:
    found = words(draw(made(run_rows(60))))

    for one in (
        "Reward by window, with its standard deviation",
        "Right ones of the bets",
        "Value on held-out groups",
        "base model",
        "Answers to held-out questions",
        "promoted",
        "rolled back",
        "comparison",
        "no logprobs",
        "a line across: rolled back",
        "Backlog when a window was sealed",
        "Hours from a window's seal until it was done",
    ):
        assert one in found


def test_what_there_is_not_has_no_panel() -> None:
    windows = [
        structs.replace(one, right_share=None, sealed_at=None) for one in run_rows(3).windows
    ]

    found = words(draw(made(RunRows(windows, [], [], [], [], []))))

    assert "Reward by window" in found
    for one in ("Right ones", "Value on", "Answers to", "What was decided", "not used", "Backlog"):
        assert one not in found


def test_one_window_is_a_picture() -> None:
    assert "Reward by window" in words(draw(made(run_rows(1))))


def test_ten_thousand_windows_are_a_light_page() -> None:
    rows = run_rows(10_000)

    found = page("run", [], made(rows), rows, extremes())

    assert len(found) < 1_200_000
    assert all("21 windows a point" in words(svg) for svg in pictures(found))


def test_what_others_wrote_is_text() -> None:
    rows = run_rows(8, reason=HOSTILE, why=HOSTILE)
    windows = [structs.replace(one, state=HOSTILE, reason=HOSTILE) for one in rows.windows]

    rows = structs.replace(rows, windows=windows)
    found = page(HOSTILE, [HOSTILE], made(rows), rows, extremes(HOSTILE))

    seen = Elements(found)
    assert seen.names.isdisjoint({"script", "link", "iframe"})
    assert seen.attributes.isdisjoint({"onerror"})
    assert seen.words.count("<script>alert(1)</script>") > 20
    assert "\x1b" not in found
    assert "http" not in found.replace("http-equiv", "")
    for svg in pictures(found):
        assert "alert" not in words(svg)


def test_the_page_lists_the_newest_and_says_how_many_more_there_are() -> None:
    rows = run_rows(200)

    seen = Elements(page("run", [], made(rows), rows, extremes())).words

    assert hour(199) in seen
    assert "And 32 more: earlier ones: `babylon-tasks windows list`" in seen
    assert "And 100 more: earlier ones: `babylon-tasks why STEP`" in seen
    assert "And 102 more: earlier ones are in the picture alone" in seen
    assert "rolled back: step 158" in seen


def test_a_window_says_why_what_of_it_was_not_used() -> None:
    rows = run_rows(60)

    seen = Elements(page("run", [], made(rows), rows, extremes())).words

    assert "trainednot used: 2 no_logprobs" in seen
    assert "held_outkept for evaluation, and so never trained on" in seen


@pytest.mark.parametrize("reason", WindowReason)
def test_why_no_step_took_a_window_is_in_words(reason: WindowReason) -> None:
    rows = run_rows(2)
    skipped = [structs.replace(one, state="skipped", reason=reason) for one in rows.windows]
    rows = structs.replace(rows, windows=skipped)

    found = page("run", [], made(rows), rows, extremes())

    words_of_it = why_not_used("skipped", reason)
    assert words_of_it is not None
    assert f"skipped: {reason}<br>{words_of_it}" in found


@pytest.mark.parametrize("idle", [None, "outcomes", "new_rewards", "tripwire"])
def test_what_waits_may_not_be_taken_by_a_step(idle: str | None) -> None:
    rows = run_rows(2)
    scored = [structs.replace(one, state="scored", idle=idle) for one in rows.windows]
    rows = structs.replace(rows, windows=scored)

    found = page("run", [], made(rows), rows, extremes())

    assert why_not_used("scored", None, idle) in found
    assert ("a step may take it" in found) == (idle is None)


def test_a_step_has_its_manifest_its_figures_and_its_time() -> None:
    rows = run_rows(60)

    seen = Elements(page("run", [], made(rows), rows, extremes())).words

    for one in (
        "Step 48 from 47: committed",
        "manifest 0123456789ab: 4 groups of 16 trajectories",
        "4 gradient steps on 900 tokens; adapter fedcba987654",
        "importance ratio 1.01",
        "ran 12.5 s on cpu",
        "loss/train 0.020",
    ):
        assert one in seen


def test_the_best_and_the_worst_answers_are_there_with_what_their_group_got() -> None:
    rows = run_rows(8)

    seen = Elements(page("run", [], made(rows), rows, extremes("ROSE"))).words

    for one in ("Best 2: 0.750", "Worst 1: 0.000", "comparable ones got 1.000, 0.750, 0.500, 0.000",
                "ROSE\nROSE", "done: ROSE", "And 1 more calls"):  # fmt: skip
        assert one in seen


def test_checkpoints_are_a_tree_that_says_which_served_when() -> None:
    rows = run_rows(60)

    found = page("run", [], made(rows), rows, extremes())

    seen = Elements(found).words
    # 46 was taken out of service; 47 was trained from 45 again, beside it.
    assert f"step 45: from 44; value 0.500; served from {hour(56)} to {hour(57)}" in seen
    assert f"step 46: from 45; value 0.500; rolled back; of a dead branch since {LATER}" in seen
    assert "step 0: the base model; value 0.500; served from the beginning" in seen
    assert "serves now" in seen
    tree = found[found.index('<ul class="tree">') :]
    assert tree.count("<ul") == tree.count("</ul>") == 2
    assert tree.index("<ul>") < tree.index("#step-46") < tree.index("</ul>")


def test_the_newest_comparison_and_the_cost_are_on_it() -> None:
    rows, hours = run_rows(8), list(ramp(36, falls_at=22))
    run = MeasuredRun(1, 1, "local", datetime(2026, 1, 1, tzinfo=UTC), 1800.0)
    paid = ledger(CostRecords([run], [], [], [], [], []), Prices(gpu_hour=4.0))
    compared = history(PARAMETERS, compared_rows(hours), [one.arms for one in hours], {})

    found = page(
        "run", [], made(rows), rows, extremes(),
        comparison=(["comparison 1 with x"], compared), cost=paid,
    )  # fmt: skip

    seen = Elements(found).words
    assert "comparison 1 with x" in seen
    assert "training$2.000.501" in seen
    assert sum("Shares of the arms" in words(svg) for svg in pictures(found)) == 2


def test_what_is_named_is_pointed_at_and_nothing_else() -> None:
    rows = run_rows(200)

    found = Elements(page("run", [f"step 159 at {hour(50)}"], made(rows), rows, extremes()))

    assert len(found.ids) == len(set(found.ids))
    assert {one.removeprefix("#") for one in found.links} <= set(found.ids)
    for one in (f"#window-{hour(199)}", "#step-160", "#answers", f"#window-{hour(50)}"):
        assert one in found.links
    assert "#step-1" not in found.links  # too old to be listed
