"""Check that docs/art.md lists what we take from ART: `python -m checks.art_names`.

With ``--write`` it writes the lists there; without, it fails if the document differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from babylon_tasks.training.art_fields import ANSWERED, SENT, SENT_SUPERVISED, Field
from babylon_tasks.training.art_interface import INTERFACES
from babylon_tasks.training.art_names import NAMES, ArtName
from babylon_tasks.training.step_figures import FIGURES
from checks.violations import Violation, end

DOCUMENT = Path(__file__).parents[1] / "docs" / "art.md"
_LISTS = re.compile(r"(<!-- (\w+): generated -->\n).*?(<!-- \2: end -->)", re.S)


def lists() -> dict[str, str]:
    """Make the lists of the document, by name."""
    return {
        "interfaces": _table(
            ("ART", "Python", "backends", "trained tokens", "conversation", "beyond the first"),
            (
                (
                    one.release,
                    one.python,
                    ", ".join(one.backends),
                    f"`{one.tokens_metric}`",
                    f"`art.trajectories.{one.history}`",
                    ", ".join(
                        [f"`{name}`" for name in (*one.model_options, *one.serverless_options)]
                        + ["needs the prompt's token ids"] * one.needs_prompt_ids
                        + ["`assistant_turns`"] * one.trains_last_turn
                    )
                    or "-",
                )
                for one in INTERFACES
            ),
        ),
        "names": _table(("name", "we pass", "we read or set", "for"), map(_name, NAMES)),
        "figures": _table(
            ("figure", "also sent as", "who calls it so", "what it is"),
            (
                (
                    f"`{one.name}`",
                    ", ".join(f"`{name}`" for name in one.sent) or "-",
                    one.source or "we",
                    one.text,
                )
                for one in FIGURES
            ),
        ),
        "sent": _fields((*SENT, *SENT_SUPERVISED)),
        "answered": _table(
            ("call", "field", "what it is for", "called otherwise"),
            (
                (f"`{one.call}`", f"`{one.path}`", one.read or "-", one.without or "-")
                for one in ANSWERED
            ),
        ),
    }


def violations(text: str) -> list[Violation]:
    """Check that the document lists what the code takes."""
    if {found[2] for found in _LISTS.finditer(text)} == set(lists()) and written(text) == text:
        return []
    return [Violation(DOCUMENT.name, "does not list what the code takes from ART; run `make docs`")]


def written(text: str) -> str:
    """Put the lists into the document's text."""
    made = lists()
    return _LISTS.sub(lambda found: found[1] + made[found[2]] + found[3], text)


def _name(one: ArtName) -> tuple[str, ...]:
    listed = [", ".join(f"`{name}`" for name in names) or "-" for names in (one.takes, one.has)]
    return (f"`{one.name}`", *listed, ", ".join(one.used_by))


def _fields(fields: Iterable[Field]) -> str:
    rows = ((f"`{f.call}`", f"`{f.path}`", f.only or "all", f.read or "-") for f in fields)
    return _table(("call", "field", "ART", "what it is for"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")
    end("ART", violations(DOCUMENT.read_text("utf-8")), "docs/art.md lists it all")
