"""Security policies of others: checkov on all renderings of k8s/ and on the Dockerfile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from checks.kubectl import TOOLS
from checks.renderings import Rendering
from checks.violations import Violation, report

# Rules that are switched off, and why.
SKIPPED = {
    "CKV_K8S_15": "imagePullPolicy Always: a restart would need the registry. Tags are releases, "
    "and never moved; pin digests if you do not trust that; this then makes no difference.",
    "CKV_K8S_43": "digests: an image's is known once it is in the operator's own registry. "
    "k8s/README.md says how the overlay names it.",
    "CKV_DOCKER_7": "the base image's tag: checkov does not look into the build argument that "
    "names it; checks/dockerfile.py does.",
}


def policy_violations(root: Path, renderings: Sequence[Rendering]) -> Iterator[Violation]:
    """List what checkov finds in any rendering or in the Dockerfile, once."""
    with tempfile.TemporaryDirectory(prefix="babylon-tasks-policy-") as folder:
        files = {}
        for number, rendering in enumerate(renderings):
            path = Path(folder) / f"{number}.yaml"
            # Without kustomize's notes of origin, which are not applied.
            path.write_text(yaml.safe_dump_all(one.content for one in rendering.objects), "utf-8")
            files[path.name] = rendering
        found = _checkov([*(Path(folder) / name for name in files), root / "Dockerfile"])
    yield from dict.fromkeys(_violation(one, files) for one in found)


def _violation(found: dict[str, Any], files: dict[str, Rendering]) -> Violation:
    what = f"{found['check_id']}: {found['check_name']}"
    rendering = files.get(Path(found["file_path"]).name)
    if rendering is None:
        return Violation(f"Dockerfile:{found['file_line_range'][0]}", what)
    # A Deployment.babylon-tasks.beat, or a Pod.babylon-tasks.beat.and-its-labels made from it.
    kind, _, name = found["resource"].split(".")[:3]
    keys = found.get("check_result", {}).get("evaluated_keys") or []
    owners = [one for one in rendering.objects if one.name == name and one.content.get("spec")]
    owner = next((o for o in owners if o.kind in (kind, "Deployment", "StatefulSet", "Job")), None)
    place = owner.place if owner else f"k8s/{rendering.name}: {found['resource']}"
    return Violation(place, f"{what} (at {keys[0]})" if keys else what)


def _checkov(files: Sequence[Path]) -> list[dict[str, Any]]:
    program = TOOLS / "bin" / "checkov"
    if not program.exists():
        raise FileNotFoundError("there is no checkov: run `make tools`")
    options = ["--framework", "kubernetes", "dockerfile", "--skip-download", "--output", "json"]
    reports = report(
        [program, *options, "--skip-check", ",".join(SKIPPED), "--quiet", "--file", *files],
        # Its own folders are first on its path; ours have nothing that it could use.
        {name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    reports = reports if isinstance(reports, list) else [reports]
    unread = [one["summary"] for one in reports if one["summary"]["parsing_errors"]]
    if {one["check_type"] for one in reports} != {"kubernetes", "dockerfile"} or unread:
        raise RuntimeError(f"checkov did not read all files: {unread}")
    return [failed for one in reports for failed in one["results"]["failed_checks"]]
