"""Log events follow one grammar, `object.past_participle`, and carry their facts as fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "babylon_tasks"
# The last word is a past participle: regular, or one of these.
EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.([a-z]+_)*([a-z]+ed|held|lost|sent|set_aside|taken_over)")
METHODS = ("debug", "info", "warning", "error", "exception", "critical")
GET_LOGGER = "structlog.get_logger"


def violations(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    named = [
        statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and ast.unparse(statement) == f"log = {GET_LOGGER}(__name__)"
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if ast.unparse(node.func) == GET_LOGGER:
            if node not in named:
                yield f"line {node.lineno}: write `log = {GET_LOGGER}(__name__)`, once, at the top"
        elif (
            ast.unparse(node.func.value) in ("log", "_log", "logger")
            and node.func.attr in METHODS
            and not is_event(node.args)
        ):
            yield f"line {node.lineno}: not one literal object.past_participle"


def is_event(arguments: list[ast.expr]) -> bool:
    match arguments:
        case [ast.Constant(value=str(event))]:
            return EVENT.fullmatch(event) is not None
        case _:
            return False


@pytest.mark.unit
def test_every_event_of_the_package_follows_the_grammar() -> None:
    found = {
        str(path.relative_to(PACKAGE)): list(violations(path.read_text("utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


@pytest.mark.unit
@pytest.mark.parametrize(
    "line",
    [
        'log.info("the lease is lost")',
        'log.info("lease_lost")',
        'log.info("train_window.trains")',
        'log.info(f"step.{action}")',
        'log.info("step %s committed", step)',
        'logger.warning("Lease.lost")',
        "log = structlog.get_logger()",
        "_log = structlog.get_logger(__name__)",
    ],
)
def test_what_does_not_follow_it_is_found(line: str) -> None:
    assert list(violations(line))


@pytest.mark.unit
@pytest.mark.parametrize(
    "line",
    [
        'log.info("step.committed", step=3)',
        'log.warning("lease.not_renewed")',
        'log.error("recorder.row_dropped", why="full")',
        "log = structlog.get_logger(__name__)",
    ],
)
def test_what_follows_it_is_not(line: str) -> None:
    assert not list(violations(line))
