"""A comparison as a picture and as a page: what is in them, and what never is."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from compared_windows import hour
from drawn_words import words
from msgspec import structs
from page_elements import HOSTILE, Elements, pictures
from recorded_ramp import PARAMETERS, ramp, rows

from babylon_tasks.cli.comparison_curves import draw
from babylon_tasks.cli.comparison_page import page
from babylon_tasks.cli.picture_style import DARK, LIGHT, NARROW
from babylon_tasks.comparison.history import ComparisonHistory, Mark, history

pytestmark = pytest.mark.contract(None)


@pytest.fixture(scope="module")
def risen() -> ComparisonHistory:
    """A ramp that rises three times and falls to the floor."""
    hours = list(ramp(30, falls_at=20))
    return history(PARAMETERS, rows(hours), [one.arms for one in hours], {})


def test_each_panel_says_what_it_is_and_what_it_is_held_against(risen: ComparisonHistory) -> None:
    found = words(draw(risen))

    for one in (
        "E-values of the trial",
        "needed: 20",
        "Reward less the anchor's, with its error",
        "Detectors of harm, in windows",
        "harm at 1,440",
        "Shares of the arms",
        "What the ramp has cost",
        "withdrawn at 2",
        "1 rise; 2 rise; 3 rise; 4 to_floor",
    ):
        assert one in found


def test_what_there_is_not_has_no_panel(risen: ComparisonHistory) -> None:
    bare = [structs.replace(one, shares=None, trial=None) for one in risen.points]

    found = words(draw(structs.replace(risen, points=bare, budget=None, marks=[])))

    assert "Detectors of harm" in found
    assert "E-values of the trial" not in found
    assert "Shares of the arms" not in found
    assert "What the ramp has cost" not in found


def test_equal_histories_give_equal_text(risen: ComparisonHistory) -> None:
    assert draw(risen, DARK, NARROW) == draw(risen, DARK, NARROW)


def test_one_window_is_a_picture(risen: ComparisonHistory) -> None:
    one = structs.replace(risen, points=risen.points[:1], windows=1, marks=[])

    assert "Reward less the anchor's" in words(draw(one))


def test_thousands_of_windows_are_a_light_picture() -> None:
    hours = list(ramp(30, falls_at=20))
    few, drawn = rows(hours), [one.arms for one in hours]
    week = [*few, *few[:1] * 138]  # with four conclusions
    many = [structs.replace(week[n % 168], window=hour(n + 1)) for n in range(10_000)]

    found = draw(history(PARAMETERS, many, drawn, {}), DARK, NARROW)

    assert len(found) < 500_000
    assert "mean of 21 windows" in words(found)


def test_a_page_is_for_phones_and_dark_screens_and_asks_nobody(risen: ComparisonHistory) -> None:
    found = page("Comparison 1", ["30 windows"], risen)

    drawn = list(pictures(found))
    widths = [ElementTree.fromstring(svg).get("width") for svg in drawn]  # noqa: S314
    assert widths == ["360pt", "960pt"]
    for svg in drawn:  # in both themes; what has a colour names it
        assert svg.count(LIGHT.ink) == svg.count(DARK.ink) == 1
        assert "fill: var(--ink)" in svg
    assert "prefers-color-scheme: dark" in found
    assert "default-src 'none'" in found
    assert Elements(found).names.isdisjoint({"script", "link", "iframe"})
    assert "http" not in found.replace("http-equiv", "")


def test_what_others_wrote_is_text(risen: ComparisonHistory) -> None:
    mark = Mark(1, hour(3), HOSTILE, HOSTILE, HOSTILE)

    found = page(HOSTILE, [HOSTILE], structs.replace(risen, marks=[mark]))

    seen = Elements(found)
    assert "script" not in seen.names
    assert "onerror" not in seen.attributes
    assert seen.words.count("<script>alert(1)</script>") == 6
    assert "\x1b" not in found
    for svg in pictures(found):
        assert "alert" not in words(svg)
