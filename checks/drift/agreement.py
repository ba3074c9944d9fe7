"""Check that Compose, k8s/ and its examples agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.compose_file import ComposeFile
from checks.network import chosen
from checks.renderings import Rendering
from checks.violations import Violation
from checks.workloads import Container, workloads

AUTHORITY = "/etc/babylon-tasks/ca"


def same_redis(rendering: Rendering, compose: ComposeFile) -> Iterator[Violation]:
    """Check that our own Redis is the one in compose.yaml."""
    image = str((compose.services.get("redis") or {}).get("image", ""))
    for workload in workloads(rendering):
        for container in workload.containers:
            if container.name == "redis" and container.image != image:
                yield container.violation(f"image {container.image}: compose.yaml has {image}")


def same_authority(rendering: Rendering) -> Iterator[Violation]:
    """Check that a certificate authority, where one of our containers has it, is in all of them."""
    ours = [one for load in workloads(rendering) for one in load.containers if one.is_ours]
    if any(AUTHORITY in one.mounts for one in ours):
        for container in ours:
            if AUTHORITY not in container.mounts:
                yield container.violation(f"has no {AUTHORITY}, which the others have")


def without_postgres(rendering: Rendering) -> Iterator[Violation]:
    """Check that no policy opens Postgres to what does not need it: Flower, the trainer's seed."""
    others = [one for one in workloads(rendering) if one.name in ("flower", "seed")]
    for policy in rendering.of("NetworkPolicy"):
        ports = [
            port.get("port")
            for rule in policy.spec.get("egress") or []
            for port in rule.get("ports") or []
        ]
        for one in chosen(policy.spec.get("podSelector"), others) if 5432 in ports else []:
            yield policy.violation(f"opens Postgres to {one.name}, which does not need it")


def seeded(renderings: Sequence[Rendering], image: dict[str, str]) -> Iterator[Violation]:
    """Check that k8s/seed puts the base model where the gpu-worker of components/gpu looks for it.

    ``image``: what the trainer's image sets.
    """
    containers = [o for r in renderings for load in workloads(r) for o in load.containers]
    workers = [one for one in containers if one.process == "gpu-worker" and "-gpu:" in one.image]
    seeds = [one for one in containers if one.workload.name == "seed"]
    for seed in seeds:
        home = seed.environment.get("HF_HOME", "(none)")
        for worker in workers:
            cache = (image | worker.environment).get("XDG_CACHE_HOME", "(none)")
            if home != f"{cache}/huggingface":
                yield seed.violation(f"HF_HOME is {home}; gpu-worker reads {cache}/huggingface")
            if _claims(seed) != _claims(worker):
                yield seed.violation("mounts another claim, or elsewhere, than gpu-worker")
            if seed.image != worker.image:
                yield seed.violation(f"image {seed.image}: gpu-worker has {worker.image}")


def _claims(container: Container) -> set[tuple[str, str]]:
    volumes = container.workload.volumes
    claims = {
        path: (volumes.get(name, {}).get("persistentVolumeClaim") or {}).get("claimName")
        for path, name in container.mounts.items()
    }
    return {(path, claim) for path, claim in claims.items() if claim is not None}


def keys(renderings: Sequence[Rendering]) -> Iterator[Violation]:
    """Check that external secrets make every key that any rendering mounts or KEDA reads."""
    wanted: dict[str, str] = {}
    for rendering in renderings:
        for workload in workloads(rendering):
            for volume in workload.volumes.values():
                for item in (volume.get("secret") or {}).get("items", []):
                    wanted[item["key"]] = f"{workload.object.kind}/{workload.name}"
        for one in rendering.of("TriggerAuthentication"):
            for target in one.spec.get("secretTargetRef") or []:
                wanted[target["key"]] = f"{one.kind}/{one.name}"
    for one in (one for rendering in renderings for one in rendering.of("ExternalSecret")):
        made = {entry["secretKey"] for entry in one.spec.get("data") or []}
        for key in sorted(set(wanted) - made - {"redis_password"}):  # minimal's own Valkey
            yield one.violation(f"does not make {key}, which {wanted[key]} reads")
        for key in sorted(made - set(wanted)):
            yield one.violation(f"makes {key}, which nothing in k8s/ reads")
