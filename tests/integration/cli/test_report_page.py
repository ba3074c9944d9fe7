"""A run's report as a picture and as a page: what is in them, and what never is."""

from __future__ import annotations

import pytest
from drawn_words import words
from msgspec import structs
from page_elements import HOSTILE, Elements, pictures
from reported_run import extremes, hour, run_rows

from babylon_tasks.cli.picture_style import DARK, NARROW
from babylon_tasks.cli.report_curves import draw
from babylon_tasks.cli.report_page import page
from babylon_tasks.run_history import RunHistory, run_history
from babylon_tasks.run_records import RunRows

pytestmark = pytest.mark.contract(None)


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

    found = draw(made(rows), DARK, NARROW)

    assert len(found) < 400_000  # and a page contains four of them
    assert "21 windows a point" in words(found)


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

    for one in ("Best 2: 0.750", "Worst 1: 0.000", "comparable ones got 1.000 0.750 0.500 0.000",
                "ROSE\nROSE", "done: ROSE", "And 1 more calls"):  # fmt: skip
        assert one in seen


def test_what_is_named_is_pointed_at_and_nothing_else() -> None:
    rows = run_rows(200)

    found = Elements(page("run", [], made(rows), rows, extremes()))

    assert len(found.ids) == len(set(found.ids))
    assert {one.removeprefix("#") for one in found.links} <= set(found.ids)
    for one in (f"#window-{hour(199)}", "#step-160", "#answers"):
        assert one in found.links
    assert "#step-1" not in found.links  # too old to be listed
