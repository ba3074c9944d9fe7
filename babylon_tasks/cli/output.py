"""What all commands share: exit codes, two consoles, tables, JSON, and a progress bar.

Results go to standard output, everything else to standard error. Much of what is printed was
written by others into the database: nothing of it acts on the terminal.
"""

from __future__ import annotations

import codecs
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from textwrap import TextWrapper
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from babylon_tasks.plain_text import plain

# Without a terminal, a table is for grep: nothing is wrapped or truncated.
_WIDE = 4000
out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
err = Console(highlight=False, width=None if sys.stderr.isatty() else _WIDE, stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


_READABLE = 18  # characters of a column of text
_GAP = 2
_CUT = ".."
_SPELT = {"±": "+-", "…": "...", "→": "->", "·": "-"}
LISTED = 10  # of each kind, where there may be many; --json has all
Report = Callable[[int, int | None], None]  # (done, total or None)


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    INTERRUPTED = 130


def accept_every_terminal() -> None:
    """Show what a terminal's character set lacks otherwise; Python would end with an error."""
    codecs.register_error("otherwise", _otherwise)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _has_all_characters(stream.encoding):
            stream.reconfigure(errors="otherwise")


def _otherwise(error: UnicodeError) -> tuple[str | bytes, int]:
    """Spell out the characters that we write ourselves; others are shown as their codes."""
    if isinstance(error, UnicodeEncodeError):
        spelt = _SPELT.get(error.object[error.start])
        if spelt is not None:
            return spelt, error.start + 1
    return codecs.backslashreplace_errors(error)


def _has_all_characters(encoding: str | None) -> bool:
    return (encoding or "").lower().replace("-", "").startswith("utf")


def say(line: str) -> None:
    """Print a remark for the reader, of several lines if need be; never part of the result."""
    err.print(Text(plain(line, keep="\n\t")), soft_wrap=True)


def show(line: str) -> None:
    """Print one line of the result: a line break in it could pass for another line."""
    text = plain(line)
    if out.is_terminal and cell_len(text) > out.width:  # which would break it inside words
        words = TextWrapper(out.width, break_long_words=False, break_on_hyphens=False)
        text = "\n".join(words.wrap(text))
    out.print(Text(text), soft_wrap=True)


def show_counts(what: str, counts: Mapping[str, int]) -> None:
    """Print the first of what was counted, below a heading; nothing where nothing was."""
    if not counts:
        return
    show(f"{what}:")
    for name, count in list(counts.items())[:LISTED]:
        show(f"  {count:>8}  {name}")
    if len(counts) > LISTED:
        show(f"            and {len(counts) - LISTED} others: see --json")


def refuse(line: str) -> NoReturn:
    """Exit with REFUSED: nothing was changed, and ``line`` says why."""
    say(line)
    raise typer.Exit(ExitCode.REFUSED)


def write(file: Path, text: str) -> None:
    """Write a file that was asked for; raises BadParameter where that is not possible."""
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}; nothing was written") from error


def as_json(document: Any) -> None:
    """Print one JSON document; numbers that JSON cannot represent become null."""
    text = msgspec.json.format(msgspec.json.encode(_finite(msgspec.to_builtins(document))))
    printed = plain(text.decode(), keep="\n")
    if not _has_all_characters(sys.stdout.encoding):
        printed = "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in printed)
    typer.echo(printed)


def table(
    title: str | None,
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    *,
    empty: str | None = None,
    spare: Iterable[str] = (),
) -> None:
    """Print a table; columns ending in ``#`` are numeric, the first one names the row.

    Where the terminal is too narrow, as many columns of ``spare`` are left out, in that order, as
    make it fit; where none does, each row is a paragraph. ``empty``: the remark for a reader, with
    the next step, where there is no row.
    """
    columns = list(columns)
    cells = [[plain(cell(value)) for value in row] for row in rows]
    if not cells and empty is not None:
        say(empty)
        return
    left_out = _to_leave_out(columns, cells, list(spare))
    if left_out:
        kept = [place for place, name in enumerate(columns) if name not in left_out]
        columns = [columns[place] for place in kept]
        cells = [[row[place] for place in kept] for row in cells]
    if not _fits(columns, cells):
        if title is not None:
            out.print(Text(title, style="bold"))
        for row in cells:
            _paragraph(columns, row)
        return
    drawn = Table(
        title=title,
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for place, name in enumerate(columns):
        number = name.endswith("#")
        drawn.add_column(
            name.rstrip("#"), justify="right" if number else "left", no_wrap=number or place == 0
        )
    for row in cells:
        drawn.add_row(*map(Text, row))
    out.print(drawn)
    if left_out:
        names = ", ".join(name.rstrip("#") for name in left_out)
        say(f"{out.width} columns have no room for {names}: see --json, or widen the terminal")


def _to_leave_out(columns: list[str], rows: list[list[str]], spare: list[str]) -> list[str]:
    """Choose the fewest of ``spare``, from its beginning, without which the table fits, if any."""
    for count in range(len(spare) + 1):
        kept = [place for place, name in enumerate(columns) if name not in spare[:count]]
        if _fits(
            [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]
        ):
            return spare[:count]
    return []


def _fits(columns: list[str], rows: list[list[str]]) -> bool:
    """Check whether numbers and names fit unbroken, and a text in a column that can be read."""
    needed = 0
    for place, name in enumerate(columns):
        longest = max((cell_len(row[place]) for row in rows), default=0)
        unbroken = place == 0 or name.endswith("#")
        needed += max(cell_len(name.rstrip("#")), longest if unbroken else min(longest, _READABLE))
    return needed + _GAP * (len(columns) - 1) <= out.width


def _paragraph(columns: list[str], row: list[str]) -> None:
    named = 0 if columns[0].endswith("#") else 1
    if named:
        out.print(Text(row[0], style="bold"), soft_wrap=True)
    given = zip(columns[named:], row[named:], strict=True)
    given_cells = "; ".join(
        f"{name.rstrip('#')} {text}" for name, text in given if text not in ("", "-")
    )
    if given_cells:
        out.print(Padding(Text(given_cells), (0, 0, 0, 2)))


def cut(line: str, width: int) -> str:
    """Shorten a line to a width, visibly, in characters that every terminal has."""
    if cell_len(line) <= width:
        return line
    return f"{set_cell_size(line, max(0, width - len(_CUT))).rstrip()}{_CUT}"


def say_left_out(number: int, what: str, how: str) -> None:
    """Say how many a list leaves out, and how to see them; nothing where it has all."""
    if number:
        say(f"{number} {what} {'one is' if number == 1 else 'ones are'} left out: {how}")


def cell(value: object) -> str:
    """Format a value for a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if not value or abs(value) >= 0.001 else f"{value:.2g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(entry)}" for name, entry in value.items()) or "-"
    if isinstance(value, list):
        return " ".join(map(cell, value)) or "-"
    return str(value)


@contextmanager
def progress_bar(label: str) -> Iterator[Report]:
    """Show a bar on the terminal; without a terminal show nothing."""
    with progress_bars(label) as (report,):
        yield report


@contextmanager
def progress_bars(*labels: str) -> Iterator[list[Report]]:
    """Show a bar for each stage of a command: the first at once, each later one once it begins."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bars:
        yield [_bar(bars, label, begun=place == 0) for place, label in enumerate(labels)]


def _bar(bars: Progress, label: str, *, begun: bool) -> Report:
    task = bars.add_task(label, total=None, start=begun, visible=begun)

    def report(done: int, of: int | None) -> None:
        bars.start_task(task)
        bars.update(task, completed=done, total=of, visible=True)

    return report


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
