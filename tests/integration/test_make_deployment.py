"""`make check` fails as a whole, by its exit code, for what is broken in any part of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from copies import ROOT, change, copy_deployed

VENV = Path(sys.prefix)
_PINS = (
    "constraints.txt",
    "hashes.txt",
    "requirements-checks.txt",
    "requirements-node.txt",
    "requirements-supply.txt",
)
# What is replaced in which file, and what is said.
BROKEN = {
    "a manifest": (
        "k8s/base/beat.yaml",
        "runAsNonRoot: true",
        "runAsNonRoot: maybe",
        "k8s/base/beat.yaml: Deployment/beat: spec.template.spec.securityContext.runAsNonRoot",
    ),
    "the Compose file": (
        "compose.yaml",
        "cap_drop: [ALL]",
        "cap_drop: [NET_RAW]",
        "beat: compose-lint CL-0006",
    ),
    "the Dockerfile": (
        "Dockerfile",
        "USER 10001:10001\nCOPY",
        "COPY",
        "trainer: USER 0:0: must be 10001:10001",
    ),
    "a queue's name": (
        "babylon_tasks/processes.py",
        '"cpu,upkeep"',
        '"cpu,upkep"',
        "consumes queue upkep, which babylon_tasks/tasks/app.py does not have",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project, its code included."""
    for name in ("babylon_tasks", "checks", "deploy", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    for name in ("Makefile", "README.md", *_PINS):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "typescript").mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "typescript" / name, tmp_path / "typescript")
    return copy_deployed(tmp_path)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The copy's checks, by the tools that are installed here: nothing is installed again.
    tools = VENV.with_name(f"{VENV.name}-checks")
    done = [f"--old-file={VENV / '.installed'}", f"--old-file={tools / '.installed'}"]
    return subprocess.run(
        ["make", *done, f"VENV={VENV}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("case", BROKEN)
def test_make_fails_for_what_is_broken(folder: Path, case: str) -> None:
    file, old, new, expected = BROKEN[case]
    change(folder / file, old, new)
    done = make(folder, "deployment")
    assert done.returncode != 0
    assert expected in done.stderr


def test_make_check_asks_all_of_it(folder: Path) -> None:
    done = make(folder, "--just-print", "check")
    assert done.returncode == 0, done.stderr
    asked = re.findall(r"-m checks\.(\w+)", done.stdout)
    assert {"dockerfile", "compose", "drift", "manifests", "pins", "advisories"} <= set(asked)


def test_unit_tests_need_neither_the_tools_nor_a_browser(folder: Path) -> None:
    heavy = ("requirements-checks.txt", "chromium")
    for options, needed in (("-m unit", ()), ("-m integration", heavy), ("", heavy)):
        new = ["make", "--just-print", "VENV=new", "test", f"ARGS={options}"]
        done = subprocess.run(new, cwd=folder, capture_output=True, text=True, check=True)
        assert [name for name in heavy if name in done.stdout] == [*needed]


@pytest.mark.parametrize(
    ("target", "lacking"), [("servers", "pgbouncer redis-server"), ("prometheus", "prometheus")]
)
def test_without_apt_make_says_what_to_install(folder: Path, target: str, lacking: str) -> None:
    programs = folder / "programs"
    programs.mkdir()
    for name in ("id", "make", "mkdir", "rm", "sed", "touch"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [programs / "make", target],
        cwd=folder,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"install {lacking}" in done.stderr
    assert not (folder / f".{target}" / ".installed").exists()


def _python(path: Path, version: str) -> Path:
    """A Python that knows its version, and installs nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    major, minor, _ = version.split(".")
    path.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = -V ]; then echo "Python {version}"; exit; fi\n'
        f'case "$2" in *version_info*) exec {sys.executable} -c "import sys; '
        f'sys.exit(({major}, {minor}) not in ((3, 11), (3, 12)))";; esac\n'
        "exit 1\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("3.10.1", "is not Python 3.11 or 3.12; name one: make setup PYTHON=python3.12"),
        ("3.12.1", "new has Python 3.11.1, not Python 3.12.1: delete it, or name its Python"),
    ],
)
def test_another_python_than_that_of_the_environment_is_refused(
    folder: Path, version: str, why: str
) -> None:
    chosen = _python(folder / "programs" / "python", version)
    theirs = _python(folder / "new" / "bin" / "python", "3.11.1")
    done = subprocess.run(
        ["make", "VENV=new", f"PYTHON={chosen}", "setup"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert why in done.stderr
    assert theirs.exists()


def test_make_looks_at_torchs_build_before_it_is_fetched_unless_an_index_is_named(
    folder: Path,
) -> None:
    def asked(*arguments: str) -> str:
        new = ["make", "--just-print", "VENV=new", "demo", *arguments]
        return subprocess.run(new, cwd=folder, capture_output=True, text=True, check=True).stdout

    looks = "--dry-run --report new/torch.json torch"
    takes = "$(new/bin/python deploy/torch_build.py new/torch.json)"
    unnamed = asked("TORCH_INDEX_URL=")
    assert 0 < unnamed.find(looks) < unnamed.find(takes)
    named = asked("TORCH_INDEX_URL=https://index.example/cpu")
    assert "--index-url https://index.example/cpu" in named
    assert "new/torch.json" not in named
