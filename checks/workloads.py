"""The pods of a rendering: what each container is told, mounts, listens on and runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from babylon_tasks.settings import SECRETS_DIR
from checks.faults import Fault
from checks.renderings import Object, Rendering

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
        """Its name."""
        return str(self.content["name"])

    @property
    def image(self) -> str:
        """Its image."""
        return str(self.content.get("image", ""))

    @property
    def is_ours(self) -> bool:
        """Whether babylon-tasks runs in it; an operator's registry may stand before the name."""
        return self.image.rpartition("/")[2].startswith(OWN_IMAGES)

    @property
    def arguments(self) -> list[str]:
        """What ``babylon-tasks`` is given, which the image starts."""
        return [str(word) for word in self.content.get("args") or []]

    @property
    def process(self) -> str | None:
        """The process that it runs, if it is one that stays."""
        return self.arguments[1] if self.is_ours and self.arguments[:1] == ["run"] else None

    @property
    def ports(self) -> dict[str, int]:
        """Port numbers by name."""
        return {
            str(port.get("name", "")): port["containerPort"]
            for port in self.content.get("ports") or []
        }

    @property
    def mounts(self) -> dict[str, str]:
        """Volume names by the path where they are."""
        return {
            mount["mountPath"]: mount["name"] for mount in self.content.get("volumeMounts") or []
        }

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

    def fault(self, what: str) -> Fault:
        """A fault of this container."""
        return self.workload.object.fault(what, self.name)


@dataclass(frozen=True)
class Workload:
    """What makes pods."""

    object: Object
    rendering: Rendering

    @property
    def name(self) -> str:
        """Its name."""
        return self.object.name

    @property
    def template(self) -> dict[str, Any]:
        """What its pods are made from."""
        spec = self.object.spec
        if self.object.kind == "Pod":
            return self.object.content
        if self.object.kind == "CronJob":
            spec = spec.get("jobTemplate", {}).get("spec", {})
        return spec.get("template") or {}

    @property
    def labels(self) -> dict[str, str]:
        """Its pods' labels."""
        return (self.template.get("metadata") or {}).get("labels") or {}

    @property
    def pod(self) -> dict[str, Any]:
        """Its pods' specification."""
        return self.template.get("spec") or {}

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        """Its pods' volumes by name, with those that are claimed for each pod."""
        claimed = self.object.spec.get("volumeClaimTemplates") or []
        return {one["name"]: one for one in self.pod.get("volumes") or []} | {
            one["metadata"]["name"]: one for one in claimed
        }

    @property
    def containers(self) -> list[Container]:
        """All of its containers, those that only prepare first."""
        return [
            Container(self, content, is_init)
            for key, is_init in (("initContainers", True), ("containers", False))
            for content in self.pod.get(key) or []
        ]

    @property
    def processes(self) -> list[Container]:
        """Those of its containers in which a process of ours stays."""
        return [one for one in self.containers if one.process]


def workloads(rendering: Rendering) -> Iterator[Workload]:
    """Everything in a rendering that makes pods."""
    return (Workload(one, rendering) for one in rendering.of(*KINDS))


def chosen(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Whether a label selector chooses these labels; an empty one chooses all."""
    selector = selector or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        held, wanted = labels.get(one["key"]), one.get("values") or []
        holds = {
            "In": held in wanted,
            "NotIn": held not in wanted,
            "Exists": held is not None,
            "DoesNotExist": held is None,
        }
        if not holds[one["operator"]]:
            return False
    return True
