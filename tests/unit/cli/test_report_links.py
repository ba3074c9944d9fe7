"""What a sentence names is a link; a figure that looks like it is none."""

from __future__ import annotations

from babylon_tasks.cli.report_links import Links


def test_a_figure_after_its_word_is_no_step() -> None:
    links = Links(windows=frozenset(), steps=frozenset({0, 4}))

    found = links.in_text("held-out value: new checkpoint 0.696, last of step 4.")

    assert found == 'held-out value: new checkpoint 0.696, last of <a href="#step-4">step 4</a>.'
