"""All containers that run babylon-tasks: the services of Compose and the containers of k8s/."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from babylon_tasks.read_settings import SECRETS_DIR
from checks.compose_file import ComposeFile
from checks.renderings import Object, Rendering
from checks.violations import Violation
from checks.workloads import OWN_IMAGES, Container, workloads

_PROBE = ["CMD", "python", "-m", "babylon_tasks.probe"]
# What an override's first lines tell an operator to write to babylon.env.
_BABYLON_ENV = {
    "compose.judge.yaml": {"BABYLON_RULER_MODEL": "openai/o3"},
    "compose.upstreams.yaml": {"BABYLON_ANCHOR_MODEL": "qwen/qwen3-32b"},
}
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class HealthRequest:
    """Who asks a unit whether it is well: at which port and path, and how long for an answer."""

    port: str  # as written
    path: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One container as it will run. ``environment`` lacks what the image itself sets."""

    name: str
    owner: Object | None  # what makes its pods; None in Compose
    addresses: set[str]  # the names by which others reach it
    image: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    secret_files: Sequence[str]
    mounts: set[str]
    ports: Mapping[str, int]  # by name in k8s/, by their number in Compose
    probes: Sequence[HealthRequest]
    grace_seconds: float  # between SIGTERM and SIGKILL
    waits_for_schema: bool
    is_optional: bool  # not there by default
    violation: Callable[[str], Violation]

    @property
    def process(self) -> str | None:
        """The process that it runs, if it is a permanent one."""
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

    def violation(self, what: str) -> Violation:
        return Violation(self.name, what)


def of_rendering(rendering: Rendering) -> Deployment:
    """List our containers in one rendering of k8s/."""
    own = [one for load in workloads(rendering) for one in load.containers if one.is_ours]
    return Deployment(f"k8s/{rendering.name}", [_of_container(one, rendering) for one in own])


def _of_container(container: Container, rendering: Rendering) -> Unit:
    workload = container.workload
    space = workload.object.metadata.get("namespace", "default")
    addresses = {
        f"{one.name}.{space}.svc"
        for one in rendering.of("Service")
        if (one.spec.get("selector") or {}).items() <= workload.labels.items()
        and any(port.get("targetPort") == "inference" for port in one.spec.get("ports") or [])
    }
    probes = [
        container.content.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness")
    ]
    asked = [
        HealthRequest(
            port=str(probe["httpGet"]["port"]),
            path=str(probe["httpGet"].get("path", "/")),
            seconds=float(probe.get("timeoutSeconds", 1)),
        )
        for probe in probes
        if probe and "httpGet" in probe
    ]
    return Unit(
        name=container.name,
        owner=workload.object,
        addresses=addresses,
        image=container.image,
        arguments=container.arguments,
        # The one thing that only the cluster knows.
        environment={
            n: v.replace("$(POD_NAMESPACE)", space) for n, v in container.environment.items()
        },
        secret_files=container.secret_files,
        mounts=set(container.mounts),
        ports=container.ports,
        probes=asked,
        grace_seconds=workload.pod.get("terminationGracePeriodSeconds", 30),
        waits_for_schema=any(
            one.is_init and one.arguments == ["migrate", "--status"]
            for one in workload.containers
            if one.image == container.image
        ),
        is_optional=False,
        violation=container.violation,
    )


def of_compose(main: ComposeFile, overrides: Sequence[ComposeFile]) -> Iterator[Deployment]:
    """List compose.yaml alone, and with each of its overrides."""
    for override in (None, *overrides):
        units = []
        for name, content in main.services.items():
            changed = override.services.get(name, {}) if override else {}
            merged = {**content, **changed}
            for key in ("environment", "deploy"):
                merged[key] = {**(content.get(key) or {}), **(changed.get(key) or {})}
            if merged.get("env_file") and override:
                read = _BABYLON_ENV.get(override.name, {})
                merged["environment"] = {**read, **merged["environment"]}
            merged["secrets"] = [*content.get("secrets", []), *changed.get("secrets", [])]
            if str(merged.get("image", "")).startswith(OWN_IMAGES):
                units.append(_of_service(name, merged, override if override and changed else main))
        yield Deployment(main.name + (f" with {override.name}" if override else ""), units)


def _of_service(name: str, service: dict[str, Any], file: ComposeFile) -> Unit:
    environment = {str(key): _default(str(v)) for key, v in service["environment"].items()}
    folder = f"{environment.get(SECRETS_DIR, '')}/"
    secrets = [
        f"/run/secrets/{one}" if isinstance(one, str) else str(one.get("target", one["source"]))
        for one in service["secrets"]
    ]
    check = service.get("healthcheck") or {}
    test = list(check.get("test") or [])
    probes = {
        (): ("metrics", "/livez"),
        ("flower",): ("http", "/healthcheck"),
        ("gateway",): ("gateway", "/healthz"),
        ("dashboard",): ("dashboard", "/healthz"),
    }
    asked = probes.get(tuple(test[len(_PROBE) :])) if test[: len(_PROBE)] == _PROBE else None
    published = [re.split(r"[:/]", str(port))[-1] for port in service.get("ports") or []]
    networks = service.get("networks") or []
    joined = networks.values() if isinstance(networks, dict) else []
    migrated = (service.get("depends_on") or {}).get("migrate") or {}
    return Unit(
        name=name,
        owner=None,
        addresses={
            name,
            *(alias for network in joined for alias in (network or {}).get("aliases", [])),
        },
        image=str(service.get("image", "")),
        arguments=[str(word) for word in service.get("command") or []],
        environment=environment,
        secret_files=[path.removeprefix(folder) for path in secrets if path.startswith(folder)],
        mounts={str(volume).split(":")[1] for volume in service.get("volumes") or []},
        ports={port: int(port) for port in published},
        probes=[HealthRequest(*asked, _duration(str(check.get("timeout", "30s"))))]
        if asked
        else [],
        grace_seconds=_duration(str(service.get("stop_grace_period", "10s"))),
        waits_for_schema=migrated.get("condition") == "service_completed_successfully",
        is_optional=bool(service.get("profiles")),
        violation=lambda what: file.violation(("services", name), what),
    )


def _duration(text: str) -> float:
    return sum(float(n) * _SECONDS[unit] for n, unit in re.findall(r"([\d.]+)([smh])", text))


def _default(value: str) -> str:
    """Resolve a value as Compose does where the operator sets nothing."""
    return re.sub(r"\$\{\w+(?::?-([^}]*))?\}", lambda found: found[1] or "", value)
