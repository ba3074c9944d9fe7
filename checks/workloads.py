"""The pods of a rendering and their containers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from babylon_tasks.read_settings import SECRETS_DIR
from checks.renderings import Object, Rendering
from checks.violations import Violation

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
OWN_IMAGES = "babylon-tasks-"


@dataclass(frozen=True)
class Container:
    """One container, of ours or of another's image."""

    workload: Workload
    content: dict[str, Any]
    is_init: bool

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def image(self) -> str:
        """Its image; an operator's registry may come before the name."""
        return str(self.content.get("image", ""))

    @property
    def is_ours(self) -> bool:
        """Whether babylon-tasks runs in it."""
        return self.image.rpartition("/")[2].startswith(OWN_IMAGES)

    @property
    def arguments(self) -> list[str]:
        """What follows the image's ENTRYPOINT, which for ours is ``babylon-tasks``."""
        return [str(word) for word in self.content.get("args") or []]

    @property
    def command(self) -> list[str]:
        """All that it runs, but for its image's part."""
        return [*self.content.get("command", []), *self.arguments]

    @property
    def process(self) -> str | None:
        """The process that it runs, if it is one that stays."""
        return self.arguments[1] if self.is_ours and self.arguments[:1] == ["run"] else None

    @property
    def ports(self) -> dict[str, int]:
        ports = self.content.get("ports") or []
        return {str(port.get("name", "")): port["containerPort"] for port in ports}

    @property
    def mounts(self) -> dict[str, str]:
        """Volume names by the path where they are."""
        return {one["mountPath"]: one["name"] for one in self.content.get("volumeMounts") or []}

    @property
    def environment(self) -> dict[str, str]:
        """Every variable with its value; ``$(NAME)`` for what only the cluster knows."""
        found: dict[str, str] = {}
        for source in self.content.get("envFrom") or []:
            name = (source.get("configMapRef") or {}).get("name", "")
            settings = self.workload.rendering.named("ConfigMap", name)
            found |= (settings.content.get("data") or {}) if settings else {}
        for entry in self.content.get("env") or []:
            found[entry["name"]] = str(entry.get("value", f"$({entry['name']})"))
        return found

    @property
    def secret_files(self) -> list[str]:
        """The names of the files in the folder of secrets."""
        folder = self.environment.get(SECRETS_DIR, "")
        volume = self.workload.volumes.get(self.mounts.get(folder, ""), {})
        return [str(item["path"]) for item in (volume.get("secret") or {}).get("items", [])]

    def violation(self, what: str) -> Violation:
        return self.workload.object.violation(what, self.name)


@dataclass(frozen=True)
class Workload:
    """What makes pods."""

    object: Object
    rendering: Rendering

    @property
    def name(self) -> str:
        return self.object.name

    @property
    def _template(self) -> dict[str, Any]:
        spec = self.object.spec
        if self.object.kind == "Pod":
            return self.object.content
        if self.object.kind == "CronJob":
            spec = spec.get("jobTemplate", {}).get("spec", {})
        return spec.get("template") or {}

    @property
    def labels(self) -> dict[str, str]:
        return (self._template.get("metadata") or {}).get("labels") or {}

    @property
    def pod(self) -> dict[str, Any]:
        return self._template.get("spec") or {}

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        """Its pods' volumes by name, with those that are claimed for each pod."""
        claimed = self.object.spec.get("volumeClaimTemplates") or []
        named = {one["name"]: one for one in self.pod.get("volumes") or []}
        return named | {one["metadata"]["name"]: one for one in claimed}

    @property
    def containers(self) -> list[Container]:
        """All of its containers, those that only prepare first."""
        keys = ("initContainers", "containers")
        return [Container(self, c, k == keys[0]) for k in keys for c in self.pod.get(k) or []]

    @property
    def ports(self) -> set[str | int]:
        """The ports of its containers, by name and by number."""
        ports = [container.ports for container in self.containers]
        return {*(name for one in ports for name in one), *(n for o in ports for n in o.values())}


def workloads(rendering: Rendering) -> list[Workload]:
    return [Workload(one, rendering) for one in rendering.of(*KINDS)]
