"""Check that Compose, k8s/ and its examples agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.compose_file import ComposeFile
from checks.renderings import Rendering
from checks.violations import Violation
from checks.workloads import workloads


def same_redis(rendering: Rendering, compose: ComposeFile) -> Iterator[Violation]:
    """Check that our own Redis is the one in compose.yaml."""
    image = str((compose.services.get("redis") or {}).get("image", ""))
    for workload in workloads(rendering):
        for container in workload.containers:
            if container.name == "redis" and container.image != image:
                yield container.violation(f"image {container.image}: compose.yaml has {image}")


def keys(renderings: Sequence[Rendering]) -> Iterator[Violation]:
    """Check that external secrets make every key that production mounts or KEDA reads."""
    wanted: dict[str, str] = {}
    for rendering in (one for one in renderings if one.name == "overlays/production"):
        for workload in workloads(rendering):
            for volume in workload.volumes.values():
                for item in (volume.get("secret") or {}).get("items", []):
                    wanted[item["key"]] = f"{workload.object.kind}/{workload.name}"
        for one in rendering.of("TriggerAuthentication"):
            for target in one.spec.get("secretTargetRef") or []:
                wanted[target["key"]] = f"{one.kind}/{one.name}"
    for one in (one for rendering in renderings for one in rendering.of("ExternalSecret")):
        made = {entry["secretKey"] for entry in one.spec.get("data") or []}
        for key in sorted(set(wanted) - made):
            yield one.violation(f"does not make {key}, which {wanted[key]} reads")
        for key in sorted(made - set(wanted)):
            yield one.violation(f"makes {key}, which nothing in overlays/production reads")
