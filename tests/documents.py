"""Fenced blocks of the project's documents, and whether what was printed is what they promise.

A comment right before a block is its marker: ``<!-- executed by FILE -->``, ``<!-- parsed -->``,
``<!-- exit code 1: why -->``, ``<!-- again until it is so -->``; ``<!-- all blocks executed by FILE
-->`` at a document's head marks all that are not ``parsed``. What is not executed is parsed
(tests/unit/test_documents.py). A block ``text`` right after one is what that one prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHELL = ("sh", "bash", "console")
_BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*?) -->\n)?"
    r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$"
    r"(?:\n+^```text\n(?P<expected>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_EXECUTED = re.compile(r"executed by ([^\s;]+)")
_ALL_EXECUTED = re.compile(r"^<!-- all blocks executed by (\S+) -->$", re.MULTILINE)
_ANYTHING = "…"


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is its fence's, ``expected`` None where nothing is promised."""

    document: str
    line: int
    language: str
    text: str
    marker: str
    expected: str | None
    executed_by: str | None

    @property
    def where(self) -> str:
        """For a message."""
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Every document that says what to type."""
    return [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "k8s").glob("**/*.md")),
    ]


def blocks(path: Path) -> list[Block]:
    """The blocks of a document, in order."""
    text = path.read_text("utf-8")
    whole = _ALL_EXECUTED.search(text)
    return [
        Block(
            str(path.relative_to(ROOT)),
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["text"],
            found["marker"] or "",
            found["expected"],
            _executor(found["marker"] or "", None if whole is None else whole[1]),
        )
        for found in _BLOCK.finditer(text)
    ]


def commands(path: Path) -> list[Block]:
    """The blocks of a document that hold something to type."""
    return [block for block in blocks(path) if block.language in SHELL]


def executed_by(file: str) -> list[Block]:
    """Every block of any document that a test (its ``__file__``) is to execute; in order."""
    name = str(Path(file).relative_to(ROOT))
    return [b for path in documents() for b in commands(path) if b.executed_by == name]


def _executor(marker: str, of_all: str | None) -> str | None:
    if marker.startswith("parsed"):
        return None
    named = _EXECUTED.search(marker)
    return of_all if named is None else named[1]


def says(output: str, expected: str) -> bool:
    """Whether all of the output is as promised.

    ``…`` alone on a line means any lines, or none; inside of one for any text, or none. How
    wide a table's columns are does not matter.
    """
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == _ANYTHING:
            pattern += r"(?:.*\n)*?"
        else:
            begun = _narrow(line)
            more = begun.endswith(f" {_ANYTHING}")
            parts = begun.removesuffix(f" {_ANYTHING}").split(_ANYTHING)
            pattern += ".*".join(map(re.escape, parts)) + (r"(?: .*)?\n" if more else r"\n")
    actual = "".join(_narrow(line) + "\n" for line in output.splitlines())
    return re.fullmatch(pattern, actual) is not None


def _narrow(line: str) -> str:
    return re.sub(r"\s+", " ", line).rstrip()
