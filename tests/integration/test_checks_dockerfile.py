"""`make check` refuses a Dockerfile that breaks a rule, and says where and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from checks.dockerfile import check

ROOT = Path(__file__).parents[2]
LAST_USER = "USER 10001:10001\nSTOPSIGNAL SIGTERM"

# What is replaced in the Dockerfile, by what, and what the violation must say.
BROKEN = {
    "root": (LAST_USER, "STOPSIGNAL SIGTERM", "worker: USER (none): must be 10001:10001"),
    "root by number": (
        LAST_USER,
        "USER 0\nSTOPSIGNAL SIGTERM",
        "worker: USER 0: must be 10001:10001",
    ),
    "a user without a number": (
        LAST_USER,
        "USER babylon\nSTOPSIGNAL SIGTERM",
        "worker: USER babylon: must be 10001:10001",
    ),
    "root at the end": ("USER 10001:10001\nCOPY", "COPY", "trainer: USER 0:0: must be 10001:10001"),
    "a secret in ENV": (
        "PYTHONUNBUFFERED=1",
        "WANDB_API_KEY=0123456789",
        "hadolint DL3064",
    ),
    "a secret as an argument": (
        "ARG EXTRAS=cpu",
        "ARG PIP_PASSWORD",
        "hadolint DL3064",
    ),
    "the address of an index": (
        "--require-hashes --requirement pip.txt",
        "--index-url https://index.test/simple --require-hashes --requirement pip.txt",
        "an address is written down",
    ),
    "the newest base": (
        "ARG BASE_IMAGE=debian:bookworm-slim",
        "ARG BASE_IMAGE=debian:latest",
        "the base image debian:latest has no fixed tag",
    ),
    "a base without a tag": (
        "ARG BASE_IMAGE=debian:bookworm-slim",
        "ARG BASE_IMAGE=debian",
        "the base image debian has no fixed tag",
    ),
    "a base that cannot be pinned": (
        "FROM ${BASE_IMAGE} AS base",
        "FROM debian:bookworm-slim AS base",
        "is not an ARG",
    ),
    "no health check": (
        'CMD ["--help"]',
        'CMD ["--help"]\nHEALTHCHECK NONE',
        "worker: HEALTHCHECK NONE: must be CMD python -m babylon_tasks.probe",
    ),
    "a shell as process 1": (
        'ENTRYPOINT ["tini", "--", "babylon-tasks"]',
        "ENTRYPOINT babylon-tasks",
        "worker: ENTRYPOINT babylon-tasks: must be tini -- babylon-tasks",
    ),
    "another signal": (
        "STOPSIGNAL SIGTERM",
        "STOPSIGNAL SIGKILL",
        "worker: STOPSIGNAL SIGKILL: must be SIGTERM",
    ),
    "the whole context": (
        "COPY migrations migrations",
        "COPY . .",
        "COPY of the whole context",
    ),
    "loose versions": (
        "--require-hashes --requirement pip.txt",
        "pip",
        "pip install without --constraint",
    ),
    "a download": (
        "python3 -m venv /opt/pip",
        "curl -fsSO /install.sh",
        "downloads past apt and pip",
    ),
    "recommended packages": ("--no-install-recommends", "--show-progress", "hadolint DL3015"),
    "a target less": ("AS trainer\n", "AS learner\n", "has no target trainer"),
    "no Dockerfile": ("WORKDIR /tmp", "ENV nothing", "cannot be parsed"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the check reads."""
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_dockerfile_is_refused(folder: Path, case: str) -> None:
    old, new, expected = BROKEN[case]
    path = folder / "Dockerfile"
    text = path.read_text("utf-8")
    assert old in text, f"the Dockerfile no longer has {old!r}: bring the test up to date"
    path.write_text(text.replace(old, new), "utf-8")
    found = [str(one) for one in check(folder)]
    assert any(expected in one and one.startswith("Dockerfile") for one in found), found


def test_ours_is_as_it_should_be(folder: Path) -> None:
    assert check(folder) == []


def test_a_context_that_lets_secrets_in_is_refused(folder: Path) -> None:
    (folder / ".dockerignore").write_text(".git\n", "utf-8")
    [violation] = check(folder)
    assert str(violation).startswith(".dockerignore:1: must begin with *")
