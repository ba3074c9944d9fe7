"""Fenced blocks of the project's documents, and whether what was printed is what they promise.

A comment right before a block is its marker: ``<!-- parsed: why -->``,
``<!-- executed by FILE -->``, ``<!-- exit code 1: why -->``, ``<!-- again until it is so -->``.
A block ``text`` right after one is what that one prints.
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

    @property
    def where(self) -> str:
        """For a message."""
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Everything that tells a reader what to type."""
    return [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "k8s").glob("**/*.md")),
    ]


def blocks(path: Path) -> list[Block]:
    """The blocks of a document, in order."""
    text = path.read_text("utf-8")
    return [
        Block(
            str(path.relative_to(ROOT)),
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["text"],
            found["marker"] or "",
            found["expected"],
        )
        for found in _BLOCK.finditer(text)
    ]


def says(output: str, expected: str) -> bool:
    """Whether all of the output is as promised.

    ``…`` alone on a line stands for any lines, or none; inside of one for any text, or none. How
    wide a table's columns are does not matter.
    """
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == _ANYTHING:
            pattern += r"(?:.*\n)*?"
        else:
            parts = (re.escape(part) for part in _narrow(line).split(_ANYTHING))
            pattern += ".*".join(parts) + r" ?\n"
    said = "".join(_narrow(line) + "\n" for line in output.splitlines())
    return re.fullmatch(pattern, said) is not None


def _narrow(line: str) -> str:
    return re.sub(r"\s+", " ", line).rstrip()
