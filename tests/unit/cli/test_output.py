"""Tables in terminals of every width and character set."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console

from babylon_tasks.cli import output

COLUMNS = ("window", "state", "agents#", "trajectories#", "scored#", "rejected#", "why")
ROWS = [
    ("2026-01-31T09:00", "trained", 4, 5, 4, 1, None),
    (
        "2026-01-31T10:00",
        "failed",
        4,
        5,
        None,
        None,
        "scoring failed 3 times, at last for a reason",
    ),
]


def drawn(monkeypatch: pytest.MonkeyPatch, width: int, *columns: str) -> str:
    file = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=file, width=width, highlight=False))
    output.table(None, columns or COLUMNS, [row[: len(columns or COLUMNS)] for row in ROWS])
    return file.getvalue()


def test_a_table_that_fits_has_a_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, 200).splitlines()
    assert [line.split()[0] for line in lines] == ["window", "2026-01-31T09:00", "2026-01-31T10:00"]


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_a_narrow_terminal_loses_no_word_of_it(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    text = drawn(monkeypatch, width)
    assert max(map(len, text.splitlines())) <= width
    together = " ".join(text.split())
    for words in ("2026-01-31T09:00", "trained", "rejected 1", "at last for a reason"):
        assert words in together
    assert "2026-01-31T10:00 state failed; agents 4; trajectories 5; why scoring" in together


def test_a_narrow_terminal_leaves_out_what_is_spare_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ("window", "state", "agents#", "trajectories#", "scored#", "rejected#", "why")
    row = ("2026-01-31T09:00", "trained", 4, 123456, 123456, 123456, "word " * 20)
    spare = ("trajectories#", "agents#")
    file = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=file, width=80, highlight=False))
    output.table(None, columns, [row], spare=spare)
    lines = file.getvalue().splitlines()
    assert lines[0].split() == ["window", "state", "agents", "scored", "rejected", "why"]
    assert max(map(len, lines)) <= 80
    assert capsys.readouterr().err.startswith("80 columns have no room for trajectories: see")
    narrow = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=narrow, width=40, highlight=False))
    output.table(None, columns, [row], spare=spare)
    assert "trajectories 123456" in " ".join(narrow.getvalue().split())  # a paragraph has room


@pytest.mark.parametrize(("terminal", "lines"), [(True, 3), (False, 1)])
def test_a_terminal_breaks_no_word_and_a_pipe_no_line(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, lines: int
) -> None:
    file = io.StringIO()
    console = Console(file=file, width=30, highlight=False, force_terminal=terminal)
    monkeypatch.setattr(output, "out", console)
    output.show("step 23 from 22 is committed; see https://example.com/an/address/of/its/own")
    shown = file.getvalue().splitlines()
    assert len(shown) == lines
    assert shown[-1].endswith("https://example.com/an/address/of/its/own")
    assert shown[0].startswith("step 23 from 22 is committed;")


def test_an_empty_table_says_what_to_do_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.table(None, COLUMNS, [], empty="no window yet")
    assert tuple(capsys.readouterr()) == ("", "no window yet\n")


def test_a_terminal_without_a_character_shows_what_it_is_and_json_stays_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("out", "err")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, f"std{name}", stream)
    output.accept_every_terminal()
    output.show("Zürich 東京 …")
    output.show("value 0.61 ± 0.02 → promoted · step 3")
    output.as_json({"agent": "Zürich 東京 \U0001f600"})
    streams["out"].flush()
    printed = streams["out"].buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    shown, ours, document = printed.split("\n", 2)
    assert shown == "Z\\xfcrich \\u6771\\u4eac ..."
    assert ours == "value 0.61 +- 0.02 -> promoted - step 3"
    assert json.loads(document) == {"agent": "Zürich 東京 \U0001f600"}


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [
        ("short", 5, "short"),
        ("longer", 5, "lon.."),
        ("a word more", 9, "a word.."),
        ("日本語の文", 10, "日本語の文"),
        ("日本語の文", 9, "日本語.."),
    ],
)
def test_a_line_is_cut_to_what_the_terminal_has(line: str, width: int, shown: str) -> None:
    assert output.cut(line, width) == shown
