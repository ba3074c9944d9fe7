"""The release has one number; those of images and manifests are compared by ``make check``."""

from __future__ import annotations

import json
import tomllib

from documents import ROOT

import babylon_tasks


def test_code_package_and_its_typescript_part_are_of_one_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    node = json.loads((ROOT / "typescript/package.json").read_text("utf-8"))
    locked = json.loads((ROOT / "typescript/package-lock.json").read_text("utf-8"))
    assert {
        project["version"],
        node["version"],
        locked["version"],
        locked["packages"][""]["version"],
    } == {babylon_tasks.__version__}
