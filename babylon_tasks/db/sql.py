"""Statements by name, from ``queries/<noun>.sql`` files.

A file is a run of blocks: a line ``-- name: verb_noun``, one line of English as a comment,
then the statement. ``queries("windows")["seal"]`` is its text.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import LiteralString, cast

_HEADER = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(noun: str) -> dict[str, LiteralString]:
    """All statements of ``queries/<noun>.sql``; raises FileNotFoundError or ValueError."""
    path = resources.files("babylon_tasks.db").joinpath("queries", f"{noun}.sql")
    return parse(path.read_text("utf-8"), str(path))


def parse(text: str, origin: str) -> dict[str, LiteralString]:
    """Split a query file into its named statements; raises ValueError on a name used twice."""
    parts = _HEADER.split(text)
    names = parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{origin} names a statement twice: {sorted(names)}")
    # The files ship with the package, so their text is as trusted as a literal of the code.
    return {
        name: cast("LiteralString", body.strip())
        for name, body in zip(names, parts[2::2], strict=True)
    }
