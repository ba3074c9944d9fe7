"""What processes keep their messages and passwords in is the same in Compose and in k8s/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.composition import Composition
from checks.faults import Fault
from checks.renderings import Rendering
from checks.workloads import workloads

_NEEDED = {
    "--appendonly yes": "messages must outlive a restart",
    "--maxmemory-policy noeviction": "every other policy drops messages",
    "requirepass $(cat ": "nobody may come in without the password, read from its file",
}


def stores(rendering: Rendering, compose: Composition) -> Iterator[Fault]:
    """A Redis of our own is the one of compose.yaml, and keeps what it is given."""
    ours = str((compose.services.get("redis") or {}).get("image", ""))
    for workload in workloads(rendering):
        for container in workload.containers:
            if container.name != "redis":
                continue
            if container.image != ours:
                yield container.fault(f"image {container.image}: compose.yaml has {ours}")
            command = " ".join([*container.content.get("command", []), *container.arguments])
            for option, why in _NEEDED.items():
                if option not in command:
                    yield container.fault(f"needs {option.strip()}…: {why}")


def keys(renderings: Sequence[Rendering]) -> Iterator[Fault]:
    """The example of external secrets makes every key that production mounts or KEDA reads."""
    wanted: dict[str, str] = {}
    for rendering in renderings:
        if rendering.name == "overlays/production":
            for workload in workloads(rendering):
                for volume in workload.volumes.values():
                    secret = volume.get("secret") or {}
                    for item in secret.get("items", []):
                        wanted[item["key"]] = f"{workload.object.kind}/{workload.name}"
            for one in rendering.of("TriggerAuthentication"):
                for target in one.spec.get("secretTargetRef") or []:
                    wanted[target["key"]] = f"{one.kind}/{one.name}"
    for rendering in renderings:
        for one in rendering.of("ExternalSecret"):
            made = {entry["secretKey"] for entry in one.spec.get("data") or []}
            for key, reader in wanted.items():
                if key not in made:
                    yield one.fault(f"does not make {key}, which {reader} reads")
            for key in sorted(made - set(wanted)):
                yield one.fault(f"makes {key}, which nobody in overlays/production reads")
