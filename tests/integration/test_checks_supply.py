"""What is installed has the hashes that were written down, and known vulnerabilities are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from copies import ROOT, change

from checks import advisories, pins
from checks.violations import Violation

CLEAN = {"name": "celery", "version": "5.7.0", "vulns": []}
WEAK = {
    "name": "litellm",
    "version": "1.82.0",
    "vulns": [{"id": "GHSA-1", "aliases": ["CVE-2026-42208"], "fix_versions": ["1.83.7"]}],
}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


def program(folder: Path, **by_source: object) -> Path:
    """A pip-audit that answers so for each source."""
    path = folder / "pip-audit"
    (folder / "answers.json").write_text(json.dumps(by_source), "utf-8")
    path.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"answers = json.load(open({str(folder / 'answers.json')!r}))\n"
        "source = sys.argv[1].partition('=')[2]\n"
        "if source not in answers: sys.exit('ConnectionError: nobody there')\n"
        "print(json.dumps({'dependencies': answers[source], 'fixes': []}))\n",
        "utf-8",
    )
    path.chmod(0o755)
    return path


def found(folder: Path, **by_source: object) -> list[str]:
    done = advisories.audit(ROOT / "constraints.txt", program(folder, **by_source))
    return [str(violation) for violation in done]


def test_a_vulnerable_package_is_named_with_the_release_that_mends_it(tmp_path: Path) -> None:
    (violation,) = found(tmp_path, pypi=[CLEAN, WEAK])
    assert violation.startswith(
        "constraints.txt: litellm 1.82.0: GHSA-1, CVE-2026-42208; fixed in 1.83.7: pin another"
    )


def test_what_is_no_concern_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisories, "IGNORED", {"CVE-2026-42208": "a test"})
    assert found(tmp_path, pypi=[CLEAN, WEAK]) == []


def test_a_package_that_was_not_audited_is_named(tmp_path: Path) -> None:
    assert found(tmp_path, pypi=[CLEAN, SKIPPED]) == [
        "constraints.txt: torch: was not audited: Dependency not found on PyPI"
    ]


def test_a_mirror_that_knows_nothing_is_not_taken_for_a_clean_answer(tmp_path: Path) -> None:
    (violation,) = found(tmp_path, pypi=[SKIPPED], osv=[WEAK])
    assert "CVE-2026-42208" in violation
    with pytest.raises(advisories.Unreachable, match=r"pypi: knows none .*osv: Conn.*nobody there"):
        found(tmp_path, pypi=[SKIPPED])


def npm(folder: Path, answer: object) -> list[str]:
    """An npm that answers so to whatever it is asked."""
    path = folder / "npm"
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\nexit 1\n")
    path.chmod(0o755)
    return [str(one) for one in advisories.audit_npm(folder, [str(path)])]


def test_a_vulnerable_package_of_npm_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://github.com/advisories/GHSA-w2w2"
    found = {"source": 1, "name": "pg-protocol", "url": url, "range": "<1.10.1"}
    answer = {
        "vulnerabilities": {
            "pg": {"name": "pg", "via": ["pg-protocol"]},
            "pg-protocol": {"name": "pg-protocol", "via": [found]},
        }
    }
    (violation,) = npm(tmp_path, answer)
    assert violation.startswith("package-lock.json: pg-protocol: GHSA-w2w2; affects <1.10.1: pin")
    assert npm(tmp_path, {"vulnerabilities": {}}) == []
    monkeypatch.setattr(advisories, "IGNORED", {"GHSA-w2w2": "a test"})
    assert npm(tmp_path, answer) == []
    with pytest.raises(advisories.Unreachable, match="npm: nobody there"):
        npm(tmp_path, {"message": "nobody there", "error": {"code": "ENOTFOUND"}})


def test_what_was_found_is_not_lost_where_the_next_file_cannot_be_audited(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unreachable() -> list[Violation]:
        raise advisories.Unreachable("nobody there")

    with pytest.raises(SystemExit, match="1 violation"):
        advisories.audit_all({"a": lambda: [Violation("a", "CVE-1")], "b": unreachable})

    said = capsys.readouterr()
    assert "CVE-1" in said.err
    assert "b NOT CHECKED" in said.out


def test_all_that_is_pinned_is_audited() -> None:
    locks = {path.name for path in ROOT.glob("requirements-*.txt")}
    assert {*advisories.PINS} == {"constraints.txt", "constraints-gpu.txt", *locks}


def test_each_pin_has_its_hashes() -> None:
    assert pins.check(ROOT) == []
    assert pins.check_npm(ROOT / "typescript") == []


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("constraints.txt", "celery==5.7.0", "celery==5.7.9", "has 5.7.0 celery, not 5.7.9"),
        ("constraints.txt", "celery==5.7.0\n", "", "has celery, which constraints.txt does not"),
        ("hashes.txt", "celery==5.7.0 \\\n    --hash", "celery==5.7.0 \\\n    --no", "has no hash"),
    ],
)
def test_pins_and_hashes_that_disagree_are_refused(
    tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    for name in ("constraints.txt", "hashes.txt"):
        shutil.copy(ROOT / name, tmp_path)
    change(tmp_path / file, old, new)
    violations = [str(violation) for violation in pins.check(tmp_path)]
    assert any(said in violation for violation in violations), violations


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("package.json", '"pg": "8', '"pg": "^8', "pg: ^8.23.1 is a range"),
        ("package.json", '"ai": "7.0.', '"ai": "7.1.', "has other devDependencies"),
        ("package-lock.json", '"integrity"', '"resolved"', "has no hash"),
        ("package-lock.json", '"integrity"', '"resolved"', "names a registry"),
    ],
)
def test_a_package_of_npm_that_is_not_pinned_is_refused(
    tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "typescript" / name, tmp_path)
    change(tmp_path / file, old, new)
    violations = [str(violation) for violation in pins.check_npm(tmp_path)]
    assert any(said in violation for violation in violations), violations


def test_the_requirements_of_an_extra_are_those_that_pip_would_install() -> None:
    script = [sys.executable, "deploy/requirements.py"]
    done = subprocess.run([*script, "flower"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "flower>=2.2,<2.3" in lines, "the extra's own"
    assert "celery[redis]>=5.7,<5.8" in lines, "of the extra `server`, which it asks for"
    assert "msgspec>=0.19" in lines, "the package's"
    assert not any("babylon-tasks" in line or "torch" in line for line in lines)
