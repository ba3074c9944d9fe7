"""Our laws of pods that no common policy knows: how ours live, are asked, and end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from babylon_tasks.settings import Settings, variable
from checks.faults import Fault
from checks.renderings import Object, Rendering
from checks.secrecy import holds_login, names_secret
from checks.workloads import OWN_IMAGES, Container, Workload, workloads

# Beside BABYLON_SHUTDOWN_SECONDS: the interruption is put on record, the trainer ended.
MARGIN = 15
_SHUTDOWN = variable("shutdown_seconds")
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_RESTRICTED = "pod-security.kubernetes.io/enforce"


def pods(rendering: Rendering, version: str) -> Iterator[Fault]:
    """Every law of every pod."""
    for one in workloads(rendering):
        if one.pod.get("enableServiceLinks") is not False:
            yield one.object.fault(
                "needs enableServiceLinks: false: a Service flower would set FLOWER_PORT, which "
                "Flower takes for its own"
            )
        yield from _ends_in_order(one)
        yield from _waits_for_schema(one)
        for container in one.containers:
            yield from _image(container, version)
            yield from _bounded(container)
            if not container.is_init and one.object.kind not in ("Job", "CronJob"):
                yield from _asked(container)


def _ends_in_order(one: Workload) -> Iterator[Fault]:
    grace = one.pod.get("terminationGracePeriodSeconds", 30)
    for container in one.processes:
        default = Settings.model_fields["shutdown_seconds"].default
        shutdown = float(container.environment.get(_SHUTDOWN, default))
        if grace <= shutdown + MARGIN:
            yield one.object.fault(
                f"terminationGracePeriodSeconds is {grace}, and {_SHUTDOWN} {shutdown:g}: it must "
                f"exceed {shutdown + MARGIN:g}, or the pod is killed while it gives its work back"
            )


def _waits_for_schema(one: Workload) -> Iterator[Fault]:
    for container in one.processes:
        first = [part for part in one.containers if part.is_init and part.is_ours]
        if container.process != "flower" and not any(
            part.arguments == ["migrate", "--status"] and part.image == container.image
            for part in first
        ):
            yield one.object.fault(
                "needs an init container that runs [migrate, --status] from the same image: it "
                "would work on a schema that is not its own"
            )


def _image(container: Container, version: str) -> Iterator[Fault]:
    tag = container.image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest") and "@sha256:" not in container.image:
        yield container.fault(f"image {container.image or '(none)'}: name a fixed version")
    elif container.is_ours and tag and tag != version:
        yield container.fault(f"image {container.image}: pyproject.toml says version {version}")
    if not container.is_ours and container.arguments[:1] in (["run"], ["migrate"]):
        yield container.fault(f"image {container.image}: ours are named {OWN_IMAGES}…")


def _bounded(container: Container) -> Iterator[Fault]:
    resources = container.content.get("resources") or {}
    for which in ("requests", "limits"):
        missing = {"cpu", "memory", "ephemeral-storage"} - set(resources.get(which) or {})
        if missing:
            yield container.fault(f"needs resources.{which} of {', '.join(sorted(missing))}")
    for name in container.mounts.values():
        scratch = (container.workload.volumes.get(name) or {}).get("emptyDir")
        if scratch is not None and "sizeLimit" not in scratch:
            yield container.fault(f"its scratch volume {name} needs a sizeLimit")


def _asked(container: Container) -> Iterator[Fault]:
    for name in _PROBES:
        probe = container.content.get(name)
        if probe is None:
            yield container.fault(f"needs a {name}")
        elif container.is_ours and "httpGet" not in probe:
            yield container.fault(
                f"{name} must be an httpGet of the process's own port: a command starts a whole "
                "Python, and `celery inspect` asks every worker of the cluster"
            )
        elif re.search(r"\bcelery\b|\binspect\b", str(probe)):
            yield container.fault(f"{name} broadcasts to the cluster; ask the process itself")


def secrets(rendering: Rendering, _: str) -> Iterator[Fault]:
    """Secrets are files; no value of one is in a manifest, and none in an environment."""
    for one in rendering.objects:
        if one.kind == "Secret":
            yield one.fault("a secret must not be in a manifest; see k8s/README.md")
        for path, text in _strings(one.content):
            if holds_login(text):
                yield one.fault(f"{path} holds a URL with a password; it belongs in the secret")
    for workload in workloads(rendering):
        for container in workload.containers:
            yield from _environment(container)
    for one in rendering.of("ConfigMap"):
        for name in one.content.get("data") or {}:
            if names_secret(name):
                yield one.fault(f"{name} is a secret; put it into the secret babylon-tasks")


def _environment(container: Container) -> Iterator[Fault]:
    sources = container.content.get("envFrom") or []
    entries = container.content.get("env") or []
    read = [entry["name"] for entry in entries if "secretKeyRef" in (entry.get("valueFrom") or {})]
    named = [entry["name"] for entry in entries if names_secret(entry["name"])]
    for name in dict.fromkeys([*read, *named]):
        yield container.fault(f"{name} is a secret in the environment; mount it as a file")
    if any("secretRef" in source for source in sources):
        yield container.fault("takes a whole secret as its environment; mount it as files")


def _strings(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _strings(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _strings(value, f"{path}[{number}]")
    else:
        yield path, str(node)


def confined(rendering: Rendering, _: str) -> Iterator[Fault]:
    """One namespace, which admits only restricted pods; and everything is in it."""
    spaces = list(rendering.of("Namespace"))
    for space in spaces:
        if space.labels.get(_RESTRICTED) != "restricted":
            yield space.fault(f"needs the label {_RESTRICTED}: restricted")
    names = {space.name for space in spaces}
    for one in rendering.objects:
        if names and not _is_of_cluster(one) and one.metadata.get("namespace") not in names:
            yield one.fault(f"is not in the namespace {', '.join(sorted(names))}")


def _is_of_cluster(one: Object) -> bool:
    return one.kind in ("Namespace", "PriorityClass")
