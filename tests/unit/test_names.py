"""One word for one thing: classes have names of their own, identifiers the glossary's words.

So have docstrings and messages. The glossary is in docs/architecture.md.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What the glossary, or plain English, says instead.
INSTEAD = {
    "verdict": "decision",
    "judgement": "decision, of the gate; grade, of the judge",
    "worth": "value",
    "valued": "evaluated",
    "valuation": "evaluation",
    "judge": "evaluate; the judge is the LLM of the scorer ruler",
    "judged": "evaluated; graded by the judge",
    "fence": "fencing token",
    "fenced": "stale lease",
    "hold": "lock, claim or contain; hold is the gate's refusal",
    "held": "locked, claimed or contained; held is what the gate refused",
    "holds": "contains",
    "holding": "keeping",
    "holder": "owner",
    "waiting": "due, queued or pending; a window waits for outcomes only",
    "rescore": "score anew; rescored is a label of log-probabilities",
    "told": "reported",
    "tell": "report",
    "tells": "reports",
    "telling": "reporting",
    "said": "output, answer or message",
    "shown": "what is shown",
    "several": "what there are several of",
    "grave": "trash",
    "litter": "leftovers",
    "deed": "action",
    "deeds": "actions",
    "law": "rule",
    "laws": "rules",
    "chances": "probabilities",
}

# An expression of the file and the identifier, joined by a colon, and the reason.
EXCEPTIONS = {
    r".*:.*held_?out.*": "the glossary's held-out windows",
    r".*/(llm_judge|judge|judge_process|reasons|rewards|choice|ruler)\.py:.*judge.*": "the LLM",
    r".*/(event_kinds|art_names)\.py:.*judge.*": "the LLM",
    r"babylon_tasks/(registry/serving|decisions|event_kinds|actions)\.py:(hold|held)": "the gate's",
    r"babylon_tasks/tripwires\.py:hold": "the policy of a tripwire",
    r"babylon_tasks/db/(reward_versions|windows)\.py:.*waiting.*": "windows wait for outcomes",
}

# Words that sentences, unlike names, may use in their everyday meaning; and the LLM's name.
IN_SENTENCES = {"judge", "said", "several", "shown", "waiting", "worth"}

# Where a sentence means what the gate or a tripwire does, or windows that are never trained on.
THE_GATES = re.compile(
    r"""held[-_\s]+out
      | held[ ]checkpoints? | checkpoints?[ ](?:that[ ])?(?:is|was)[ ]held
      | promote[ds]?(?:[ ]the[ ]newest[ ]checkpoint)?(?:,|[ ]or)[ ](?:hold|held)s?
      | ``hold`` | a[ ]hold[ ]keeps | hold[ ]without | instead[ ]of[ ]holding
      | \(held\) | held[ ]before | held,[ ]step
      | (?:=|`|policy[ ]|\)[ ]or[ ])hold\b  # a tripwire's policy""",
    re.IGNORECASE | re.VERBOSE,
)


def sources() -> dict[str, ast.Module]:
    """Parse the modules of the package and of the checks."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8"))
        for folder in ("babylon_tasks", "checks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def public_classes(tree: ast.Module) -> Iterator[str]:
    """List the classes, and the type aliases (``Reply = Ready | Failed``), of a module."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp() | ast.Subscript()):
                if not name.startswith("_") and not name.isupper() and name[0].isupper():
                    yield name


def shared(modules: Iterable[tuple[str, ast.Module]]) -> dict[str, list[str]]:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules:
        for name in public_classes(tree):
            homes[name].append(path)
    return {name: paths for name, paths in homes.items() if len(paths) > 1}


def identifiers(tree: ast.Module) -> set[str]:
    """List the names that a module gives: to classes, functions, parameters and variables."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.arg(arg=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
            ):
                names.add(name)
    return names


def excepted(exception: str, name: str) -> bool:
    return re.fullmatch(exception, name, re.IGNORECASE) is not None


def forbidden(path: str, tree: ast.Module) -> dict[str, str]:
    """Map the identifiers of a module that contain a forbidden word to what to write instead."""
    return {
        f"{path}:{name}": INSTEAD[word.lower()]
        for name in sorted(identifiers(tree))
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
        if word.lower() in INSTEAD
        and not any(excepted(one, f"{path}:{name}") for one in EXCEPTIONS)
    }


def forbidden_in_sentences(path: str, tree: ast.Module) -> dict[str, str]:
    """Map the forbidden words of a module's docstrings and messages to what to write instead."""
    return {
        f"{path}:{node.lineno}: {word}": INSTEAD[word.lower()]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        for word in re.findall(r"[A-Za-z]+", THE_GATES.sub("", node.value))
        if word.lower() in INSTEAD.keys() - IN_SENTENCES
    }


@pytest.mark.unit
def test_no_two_classes_share_a_name() -> None:
    assert shared(sources().items()) == {}


@pytest.mark.unit
def test_a_shared_name_is_found() -> None:
    files = {
        "one.py": "class Ready: ...",
        "two.py": "class Ready: ...\nReply = Ready | None",
        "three.py": "Reply = list[int]\nclass _Ready: ...",
    }
    found = shared((path, ast.parse(source)) for path, source in files.items())
    assert found == {"Ready": ["one.py", "two.py"], "Reply": ["two.py", "three.py"]}


@pytest.mark.unit
def test_identifiers_use_the_words_of_the_glossary() -> None:
    assert {
        k: v for path, tree in sources().items() for k, v in forbidden(path, tree).items()
    } == {}


@pytest.mark.unit
@pytest.mark.parametrize(
    "source",
    [
        "class Verdict: ...",
        "class GateVerdict: ...",
        "RESCORE_LIMIT = 50",
        "def judge_checkpoint(): ...",
        "async def tell(): ...",
        "def read(told): ...",
        "def read(*, lease_holder=None): ...",
        "fenced = True",
        "row.waiting = 3",
        "for said in lines: ...",
    ],
)
def test_a_forbidden_word_is_found(source: str) -> None:
    assert len(forbidden("babylon_tasks/pipeline/train.py", ast.parse(source))) == 1


@pytest.mark.unit
def test_docstrings_and_messages_use_the_words_of_the_glossary() -> None:
    assert {
        k: v
        for path, tree in sources().items()
        for k, v in forbidden_in_sentences(path, tree).items()
    } == {}


@pytest.mark.unit
@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""The lock that the trainer holds."""', 1),
        ('def f():\n    """Raise where another process has held the lock."""', 1),
        ('raise ValueError(f"process {owner} holds {path}")', 1),
        ('"""A law that nobody was told of."""', 2),
        ('"""Promote or hold it, by its value on held-out groups; a held checkpoint ends."""', 0),
        ('kind = "hold"', 0),
    ],
)
def test_a_forbidden_word_of_a_sentence_is_found(source: str, found: int) -> None:
    assert len(forbidden_in_sentences("file.py", ast.parse(source))) == found


@pytest.mark.unit
def test_each_exception_is_needed() -> None:
    names = [f"{path}:{name}" for path, tree in sources().items() for name in identifiers(tree)]
    assert [one for one in EXCEPTIONS if not any(excepted(one, name) for name in names)] == []
