"""Whether tests notice the mistakes that they must: ``python -m checks.mutations [NAME ...]``.

tests/mutations/*.toml lists mutations: a mistake that somebody could make, and the tests that must
fail on it. Each is made in a copy of the repository, in which its tests run; before that all of
them run on a copy without a mistake. NAME is a list, such as ``learning``, or the id of a mutation.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from shutil import copytree
from xml.etree import ElementTree

import msgspec
from msgspec import Struct

ROOT = Path(__file__).parents[1]
LISTS = ROOT / "tests" / "mutations"
_NOT_COPIED = ("build", "dist", "node_modules", "secrets")
_LINKED = (".servers",)  # what `make servers` unpacked
_TEST_SECONDS = 120
_HANGING_SECONDS = 60


class Mutation(Struct, frozen=True, forbid_unknown_fields=True):
    """``old``, which ``file`` contains once, becomes ``new``, and ``tests`` must fail.

    ``hangs``: what it breaks is an end, so that a test that takes too long has noticed it.
    ``survives``: why no test can notice it; such a mutation is tried all the same.
    """

    id: str
    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]
    hangs: bool = False
    survives: str | None = None


class Ending(StrEnum):
    """What became of a mutation; only a test that fails in its own course has caught it."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    NOT_APPLICABLE = "not applicable"  # its old text is not there, or more than once
    NOT_RUN = "tests did not run"  # not collected, a fixture failed, or a test took too long


class Tried(Struct, frozen=True):
    """A mutation that was tried; ``how``: the test that failed and its reason, or pytest's end."""

    mutation: Mutation
    ending: Ending
    seconds: float
    how: str

    @property
    def as_it_must_be(self) -> bool:
        """Whether it was caught, or survived as its list says."""
        wanted = Ending.CAUGHT if self.mutation.survives is None else Ending.SURVIVED
        return self.ending is wanted


def lists(folder: Path = LISTS) -> dict[str, list[Mutation]]:
    """Read the lists, by name; raises msgspec's errors."""
    kind = dict[str, list[Mutation]]
    read = {path: msgspec.toml.decode(path.read_bytes(), type=kind) for path in folder.glob("*")}
    return {path.stem: found["mutation"] for path, found in sorted(read.items())}


def attempt(copy: Path, mutation: Mutation) -> Tried:
    """Make the mistake in a copy of the repository, run its tests, and mend it."""
    begun = time.monotonic()
    path = copy / mutation.file
    if not path.is_file() or path.read_text("utf-8").count(mutation.old) != 1:
        return Tried(mutation, Ending.NOT_APPLICABLE, 0.0, f"see {mutation.file}")
    with _mistaken(path, mutation):
        ending, how = _run(copy, mutation.tests, "--exitfirst", hangs=mutation.hangs)
    return Tried(mutation, ending, time.monotonic() - begun, how)


@contextmanager
def copies(root: Path, count: int) -> Iterator[SimpleQueue[Path]]:
    """Make copies of the repository, of which each has its own compiled files."""
    with tempfile.TemporaryDirectory(prefix="babylon-mutations-") as made:
        folder = Path(made)
        folder.chmod(0o711)  # servers that tests start have another user
        free: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            copytree(root, folder / str(number), symlinks=True, ignore=_not_copied)
            for name in _LINKED:
                if (root / name).exists():
                    (folder / str(number) / name).symlink_to(root / name)
            free.put(folder / str(number))
        yield free


def pass_unchanged(free: SimpleQueue[Path], chosen: Sequence[Mutation], jobs: int) -> bool:
    """Run the tests of all of these in a copy without any mistake."""
    tests = sorted({test for one in chosen for test in one.tests})
    print(f"{len(tests)} tests without any mistake ...", flush=True)
    copy = free.get()
    ending, how = _run(copy, tests, f"--numprocesses={jobs}")
    free.put(copy)
    print(f"{'passed' if ending is Ending.SURVIVED else how}\n", flush=True)
    return ending is Ending.SURVIVED


def main() -> None:
    """Exit with 1 if a mutation that must be caught is not, or the tests fail without any."""
    parser = argparse.ArgumentParser(
        prog="python -m checks.mutations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="how many are tried at once")
    given = parser.parse_args()
    chosen = _chosen(given.names)
    if not chosen:
        parser.error(f"no mutation has this name; the lists are {', '.join(lists())}")
    with copies(ROOT, given.jobs) as free:
        if not pass_unchanged(free, chosen, given.jobs):
            sys.exit("mutations: without any mistake these tests must pass first")
        tried = list(_each(free, chosen, given.jobs))
    bad = [one.mutation.id for one in tried if not one.as_it_must_be]
    counts = Counter(one.ending for one in tried)
    print(f"\n{len(tried)} mutations: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    sys.exit(f"mutations: no test noticed {', '.join(bad)}" if bad else 0)


def _chosen(names: Sequence[str]) -> list[Mutation]:
    every = [(name, one) for name, mutations in lists().items() for one in mutations]
    return [one for name, one in every if not names or name in names or one.id in names]


def _each(free: SimpleQueue[Path], chosen: Sequence[Mutation], jobs: int) -> Iterator[Tried]:
    def in_a_copy(mutation: Mutation) -> Tried:
        copy = free.get()
        try:
            return attempt(copy, mutation)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(jobs) as threads:
        for one in as_completed([threads.submit(in_a_copy, mutation) for mutation in chosen]):
            tried = one.result()
            mark = " " if tried.as_it_must_be else "!"
            line = f"{mark} {tried.mutation.id:14} {tried.ending:9} {tried.seconds:4.0f} s"
            print(f"{line}  {tried.mutation.breaks}\n{'':28}{tried.how}", flush=True)
            yield tried


@contextmanager
def _mistaken(path: Path, mutation: Mutation) -> Iterator[None]:
    right = path.read_text("utf-8")
    path.write_text(right.replace(mutation.old, mutation.new), "utf-8")
    try:
        _forget_compiled(path)
        yield
    finally:
        path.write_text(right, "utf-8")
        _forget_compiled(path)


def _forget_compiled(path: Path) -> None:
    # Python compares whole seconds and lengths: it would take one version for the other.
    if path.suffix == ".py":
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)


def _run(
    copy: Path, tests: Sequence[str], *options: str, hangs: bool = False
) -> tuple[Ending, str]:
    seconds = _HANGING_SECONDS if hangs else _TEST_SECONDS
    report = copy / "mutations.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    command += [f"--timeout={seconds}", f"--junitxml={report}", *options, *tests]
    done = subprocess.run(
        command,
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return Ending.SURVIVED, "no test failed"
    if done.returncode == 1:
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # pytest's own
            failure = case.find("failure")
            why = "" if failure is None else failure.get("message", "").split("\n")[0]
            if failure is not None and (hangs or "from pytest-timeout" not in why):
                return Ending.CAUGHT, f"{case.get('name')}: {why[:120]}"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return Ending.NOT_RUN, "\n".join(lines[-20:])


def _not_copied(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".") or name in _NOT_COPIED]


if __name__ == "__main__":
    main()
