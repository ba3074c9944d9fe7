"""The commands of a document's shell block, and what is wrong with one that nobody executes.

Only simple commands are parsed: what needs a loop or a here-document must be executed by a test.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import typer
import yaml
from documents import ROOT, Block

from babylon_tasks.cli.program import app
from babylon_tasks.read_settings import ENV_FILE, SECRETS_DIR
from babylon_tasks.settings import Settings, variable

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SEPARATORS = {"|", "||", "&&", ";", "&"}
# Standard tools of which nothing of ours can be wrong but a file's name.
_STANDARD = {
    *("cd", "cp", "mkdir", "chmod", "less", "tar", "openssl", "curl", "umask", "head", "install"),
    *("psql", "pg_dump", "pg_restore", "createdb", "dropdb", "redis-cli", "git", "printf", "set"),
    *("apt-get", "debootstrap", "podman"),
}


_UsageError: Any = typer.BadParameter.__base__  # typer brings a click of its own


@dataclass
class Command:
    """One simple command: what it sets for itself, its words, the files it is led into."""

    words: list[str] = field(default_factory=list)
    sets: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return shlex.join([*(f"{k}={v}" for k, v in self.sets.items()), *self.words])


def commands(block: Block) -> Iterator[Command]:
    """Every command of a block, in order; raises ValueError where it is not that simple."""
    text = block.text
    if block.language == "console":  # what is typed follows a prompt
        text = "".join(f"{line[2:]}\n" for line in text.splitlines() if line.startswith("$ "))
    if "<<" in text:
        raise ValueError(f"{block.where} has a here-document: let a test execute it")
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        yield from _split(list(lexer), block)


def _split(words: Sequence[str], block: Block) -> Iterator[Command]:
    found = Command()
    redirected = False
    for word in words:
        assigned = _ASSIGNMENT.fullmatch(word)
        if word in _SEPARATORS:
            yield found
            found = Command()
        elif set(word) <= set("<>&"):
            redirected = True
            if found.words and found.words[-1].isdecimal():
                found.words.pop()  # the 2 of 2>
        elif redirected:
            redirected = False
        elif set(word) & set("()`"):
            raise ValueError(f"{block.where} runs a command inside of one: let a test execute it")
        elif assigned is not None and (not found.words or found.words[0] == "export"):
            found.sets[assigned[1]] = assigned[2]
        else:
            found.words.append(word)
    if found.words or found.sets:
        yield found


def violation(command: Command) -> str | None:
    """What a reader who types it would run into, or None."""
    for name in command.sets:
        if name.startswith("BABYLON_") and name not in variables():
            return f"there is no setting {name}"
    if not command.words or command.words == ["export"]:
        return None
    program, *arguments = command.words
    if program in _STANDARD:
        return None
    check = _CHECKS.get(program)
    if check is None:
        return f"nobody knows how to check {program}: teach tests/shell.py, or execute the block"
    return check(arguments)


@cache
def variables() -> frozenset[str]:
    """Every environment variable that babylon-tasks reads."""
    return frozenset({SECRETS_DIR, ENV_FILE, *map(variable, Settings.model_fields)})


@cache
def targets() -> frozenset[str]:
    """The Makefile's targets that `make help` lists."""
    text = (ROOT / "Makefile").read_text("utf-8")
    return frozenset(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))


def _babylon_tasks(arguments: Sequence[str]) -> str | None:
    command: Any = typer.main.get_command(app)
    try:
        context = command.make_context("babylon-tasks", list(arguments))
        while hasattr(command, "resolve_command"):  # a noun, whose verb follows
            rest = [*context._protected_args, *context.args]
            name, command, rest = command.resolve_command(context, rest)
            context = command.make_context(name, rest, parent=context)
    except typer.Exit:  # --help, --version
        return None
    except _UsageError as error:
        return error.format_message()
    return None


def _make(arguments: Sequence[str]) -> str | None:
    names = [word for word in arguments if "=" not in word]
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    unknown = [name for name in names if name not in targets()]
    if unknown or not names:
        return f"`make help` does not list {unknown}"
    if set(given) - {"ARGS", "JOBS", "PYTHON"}:
        return f"the Makefile takes ARGS, JOBS and PYTHON, not {sorted(given)}"
    if names[-1] in ("demo", "up"):
        return _babylon_tasks([names[-1], *shlex.split(given.get("ARGS", ""))])
    return None


def _pip(arguments: Sequence[str]) -> str | None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    known = {"install", ".", "constraints.txt"} | {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    }
    for word in arguments:
        extras = re.fullmatch(r"(?:\.|babylon-tasks)\[(.+)\]", word)
        if extras is not None:
            unknown = set(extras[1].split(",")) - set(project["optional-dependencies"])
            if unknown:
                return f"pyproject.toml has no extra {sorted(unknown)}"
        elif not word.startswith("-") and word.lower() not in known:
            return f"constraints.txt does not pin {word}"
    return None


def _python(arguments: Sequence[str]) -> str | None:
    if arguments[:1] != ["-m"]:
        return "let a test execute it"
    module = arguments[1]
    found = (ROOT / module.replace(".", "/")).with_suffix(".py").exists() or find_spec(module)
    return None if found else f"there is no module {module}"


def _docker(arguments: Sequence[str]) -> str | None:
    words = [word for word in arguments if not word.startswith("-")]
    if words[:2] == ["buildx", "imagetools"]:
        return None  # asks a registry
    if words[:1] == ["build"] or words[:2] == ["buildx", "build"]:
        return _built(arguments)
    if words[:1] != ["compose"]:
        return "only docker build and docker compose are checked"
    path = ROOT / "compose.yaml"
    if not path.exists():
        return "there is no compose.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    services = document["services"]
    profiles = {name for service in services.values() for name in service.get("profiles", [])}
    asked = _after(arguments, "--profile")
    if not asked <= profiles:
        return f"compose.yaml has no profile {sorted(asked - profiles)}"
    rest = list(arguments[1:])
    action = _first(rest, taking={"--profile", "-f", "--env-file", "-p"})
    if action not in _COMPOSE:
        return f"docker compose {action} is not checked"
    named = rest[rest.index(action) + 1 :]
    for scaled in _after(named, "--scale"):
        named = [word for word in named if word != scaled] + [scaled.split("=")[0]]
    wanted = [word for word in named if not word.startswith("-")]
    if action in ("exec", "run"):
        if wanted[1:2] == ["babylon-tasks"]:
            return _babylon_tasks(wanted[2:]) or _known(wanted[:1], services, "service")
        wanted = wanted[:1]
    return _known(wanted, services, "service")


_OURS_TO_MAKE = {("secret", "generic")}  # `kubectl create secret generic NAME`
_COMPOSE = {
    "up",
    "down",
    "run",
    "exec",
    "logs",
    "ps",
    "stop",
    "start",
    "restart",
    "build",
    "config",
}


def _built(arguments: Sequence[str]) -> str | None:
    path = ROOT / "Dockerfile"
    stages = re.findall(r"^FROM .* AS (\S+)$", path.read_text("utf-8"), re.MULTILINE)
    return _known(_after(arguments, "--target"), stages, "target")


def _kubectl(arguments: Sequence[str]) -> str | None:
    if arguments and "--" in arguments:
        inside = arguments[arguments.index("--") + 1 :]
        unfit = _babylon_tasks(inside[1:]) if inside[:1] == ["babylon-tasks"] else None
        if unfit:
            return unfit
    rendered = set(arguments[1:2]) if arguments[:1] == ["kustomize"] else set()
    for folder in _after(arguments, "-k") | rendered:
        if not (ROOT / folder / "kustomization.yaml").exists():
            return f"{folder} holds no kustomization.yaml"
    kinds = {"deployment", "job", "statefulset", "scaledobject", "secret", "configmap", "service"}
    named = {
        (kind.lower(), name)
        for word in arguments
        for kind, _, name in [word.partition("/")]
        if kind.lower() in kinds and name
    }
    named |= {
        (kind, name) for kind, name in pairwise(arguments) if kind in kinds and name[0] != "-"
    }
    named = {pair for pair in named if pair not in _OURS_TO_MAKE}
    unknown = named - _objects()
    return f"k8s/ has no {sorted(unknown)}" if unknown else None


@cache
def _objects() -> frozenset[tuple[str, str]]:
    found = set()
    for path in (ROOT / "k8s").rglob("*.yaml"):
        for one in yaml.safe_load_all(path.read_text("utf-8")):
            if isinstance(one, dict) and "metadata" in one:
                found.add((one["kind"].lower(), one["metadata"].get("name", "")))
    return frozenset(found)


def _known(names: Any, among: Any, what: str) -> str | None:
    unknown = sorted(set(names) - set(among))
    return f"there is no {what} {unknown}" if unknown else None


def _after(words: Sequence[str], option: str) -> set[str]:
    pairs = pairwise(words)
    return {value for name, value in pairs if name == option} | {
        word.partition("=")[2] for word in words if word.startswith(f"{option}=")
    }


def _first(words: Sequence[str], taking: set[str]) -> str:
    before = ""
    for word in words:
        if not word.startswith("-") and before not in taking:
            return word
        before = word
    return ""


_CHECKS: dict[str, Callable[[Sequence[str]], str | None]] = {
    "babylon-tasks": _babylon_tasks,
    "make": _make,
    "pip": _pip,
    "python": _python,
    "python3": _python,
    "docker": _docker,
    "kubectl": _kubectl,
    ".": lambda _: None,
    "source": lambda _: None,
}
