"""Whatever starts babylon-tasks: the services of Compose and the containers of k8s/, alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from babylon_tasks.settings import SECRETS_DIR
from checks.composition import Composition
from checks.faults import Fault
from checks.renderings import Rendering
from checks.workloads import OWN_IMAGES, Container, workloads

_PROBE_MODULE = ["CMD", "python", "-m", "babylon_tasks.probe"]


@dataclass(frozen=True)
class Asked:
    """What a probe asks: port and path, as they are written; empty where it cannot be told."""

    port: str
    path: str


@dataclass(frozen=True)
class Unit:
    """One container as it is told to run. ``environment`` lacks what the image itself sets."""

    name: str
    addresses: frozenset[str]  # the names by which others reach it
    image: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    secret_files: Sequence[str]
    mounts: frozenset[str]
    ports: Mapping[str, int]  # by name in k8s/, by their number in Compose
    asked: Sequence[Asked]
    is_optional: bool  # not there by default
    fault: Callable[[str], Fault]

    @property
    def process(self) -> str | None:
        """The process that it runs, if it is one that stays."""
        return self.arguments[1] if self.arguments[:1] == ["run"] and self.arguments[1:] else None

    @property
    def image_name(self) -> str:
        """Its image's name: no registry, no tag, no digest."""
        return re.split("[:@]", self.image.rpartition("/")[2])[0]


@dataclass(frozen=True)
class Deployment:
    """Units that are deployed together."""

    name: str
    units: Sequence[Unit]
    fault: Callable[[str], Fault]


def of_rendering(rendering: Rendering) -> Deployment:
    """The containers of ours in one rendering of k8s/."""
    units = [
        _of_container(container, rendering)
        for workload in workloads(rendering)
        for container in workload.containers
        if container.is_ours
    ]
    name = f"k8s/{rendering.name}"
    return Deployment(name, units, lambda what: Fault(name, what))


def _of_container(container: Container, rendering: Rendering) -> Unit:
    space = container.workload.object.metadata.get("namespace", "default")
    services = [
        one.name
        for one in rendering.of("Service")
        if (one.spec.get("selector") or {}).items() <= container.workload.labels.items()
        and any(port.get("targetPort") == "inference" for port in one.spec.get("ports") or [])
    ]
    environment = {
        # The one thing that only the cluster knows.
        name: value.replace("$(POD_NAMESPACE)", space)
        for name, value in container.environment.items()
    }
    probes = [
        container.content.get(f"{name}Probe") for name in ("startup", "liveness", "readiness")
    ]
    asked = [
        Asked(str(probe["httpGet"]["port"]), str(probe["httpGet"].get("path", "/")))
        for probe in probes
        if probe and "httpGet" in probe
    ]
    return Unit(
        container.name,
        frozenset(f"{one}.{space}.svc" for one in services),
        container.image,
        container.arguments,
        environment,
        container.secret_files,
        frozenset(container.mounts),
        container.ports,
        asked,
        False,
        container.fault,
    )


def of_compositions(main: Composition, overrides: Sequence[Composition]) -> Iterator[Deployment]:
    """compose.yaml by itself, and with each of its overrides."""
    yield _of_compose(main.name, main, main)
    for override in overrides:
        yield _of_compose(f"{main.name} with {override.name}", main, override)


def _of_compose(name: str, main: Composition, override: Composition) -> Deployment:
    units = []
    for service, content in main.services.items():
        changed = override.services.get(service, {}) if override is not main else {}
        merged = {**content, **changed}
        for key in ("environment", "deploy"):
            merged[key] = {**(content.get(key) or {}), **(changed.get(key) or {})}
        merged["secrets"] = [*content.get("secrets", []), *changed.get("secrets", [])]
        if str(merged.get("image", "")).startswith(OWN_IMAGES):
            units.append(_of_service(service, merged, override if changed else main))
    return Deployment(name, units, lambda what: Fault(name, what))


def _of_service(name: str, service: dict[str, Any], file: Composition) -> Unit:
    environment = {
        str(key): _default(str(value)) for key, value in (service["environment"] or {}).items()
    }
    folder = environment.get(SECRETS_DIR, "")
    files = [
        (f"/run/secrets/{one}" if isinstance(one, str) else str(one.get("target", one["source"])))
        for one in service["secrets"]
    ]
    test = list((service.get("healthcheck") or {}).get("test") or [])
    asked = []
    if test[: len(_PROBE_MODULE)] == _PROBE_MODULE:
        flower = test[len(_PROBE_MODULE) :] == ["flower"]
        asked = [Asked("http", "/healthcheck") if flower else Asked("metrics", "/livez")]
    published = [re.split(r"[:/]", str(port))[-1] for port in service.get("ports") or []]
    networks = service.get("networks") or []
    joined = networks.values() if isinstance(networks, dict) else []
    aliases = [alias for network in joined for alias in (network or {}).get("aliases", [])]
    return Unit(
        name,
        frozenset([name, *aliases]),
        str(service.get("image", "")),
        [str(word) for word in service.get("command") or []],
        environment,
        [path.removeprefix(f"{folder}/") for path in files if path.startswith(f"{folder}/")],
        frozenset(str(volume).split(":")[1] for volume in service.get("volumes") or []),
        {port: int(port) for port in published},
        asked,
        bool(service.get("profiles")),
        lambda what: file.fault(("services", name), what),
    )


def _default(value: str) -> str:
    """What Compose makes of it where the operator sets nothing."""
    return re.sub(r"\$\{\w+(?::?-([^}]*))?\}", lambda found: found[1] or "", value)
