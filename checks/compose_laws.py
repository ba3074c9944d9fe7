"""Our laws of compose.yaml: each yields what breaks it, where, and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from babylon_tasks.settings import Settings
from checks.composition import Composition, strings
from checks.faults import Fault
from checks.secrecy import holds_login, names_secret

_SHUTDOWN = Settings.model_fields["shutdown_seconds"].default + 15
_UNITS = {"s": 1, "m": 60, "h": 3600}
_OWN = "babylon-tasks-"
_SCRATCH = "/tmp:"  # noqa: S108  # a path in a container
Law = Callable[[Composition, str], Iterator[Fault]]


def fixed_images(file: Composition, version: str) -> Iterator[Fault]:
    """Every image has a fixed version, ours that of pyproject.toml."""
    for name, service in file.services.items():
        image = str(service.get("image", ""))
        keys = ("services", name, "image")
        tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        if (tag in ("", "latest") and "@sha256:" not in image) or "$" in image:
            yield file.fault(
                keys, f"image {image or '(none)'}: name a fixed version, as in x:1.2.3"
            )
        elif image.startswith(_OWN) and tag != version:
            yield file.fault(keys, f"image {image}: pyproject.toml says version {version}")


def no_secret_in_sight(file: Composition, _: str) -> Iterator[Fault]:
    """No password, not even a default one: secrets are files of secrets/."""
    for keys, text in strings(file.content):
        name = _variable(keys, text)
        if name and names_secret(name):
            yield file.fault(keys, f"{name} is a secret; mount it as a file from secrets/")
        elif holds_login(text):
            yield file.fault(keys, "a URL with a password; mount it as a file from secrets/")
        for used in re.findall(r"(?<!\$)\$\{?(\w+)", text):
            if names_secret(used):
                yield file.fault(
                    keys, f"${used} would make a secret visible to `docker inspect`; mount a file"
                )
    for name, secret in (file.content.get("secrets") or {}).items():
        if not str(secret.get("file", "")).startswith("./secrets/"):
            yield file.fault(
                ("secrets", name), f"secret {name} must be a file of ./secrets/, as the others are"
            )


def _variable(keys: tuple[Any, ...], text: str) -> str | None:
    """The name of the variable or build argument that is set here, if one is."""
    for place in ("environment", "args"):
        if place in keys[:-1] and keys.index(place) == len(keys) - 2:
            return text.partition("=")[0] if isinstance(keys[-1], int) else str(keys[-1])
        if keys and keys[0] == f"x-{place}" and len(keys) == 2:
            return str(keys[-1])
    return None


def contained(file: Composition, _: str) -> Iterator[Fault]:
    """No container can write to its image, gain rights, or reach into the host."""
    for name, service in file.services.items():
        keys = ("services", name)
        if service.get("read_only") is not True:
            yield file.fault(keys, "needs read_only: true; what it writes goes to /tmp or a volume")
        if list(service.get("cap_drop", [])) != ["ALL"] or service.get("cap_add"):
            yield file.fault(keys, "needs cap_drop: [ALL] and no cap_add")
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield file.fault(keys, 'needs security_opt: ["no-new-privileges:true"]')
        if not any(str(entry).startswith(_SCRATCH) for entry in service.get("tmpfs", [])):
            yield file.fault(keys, "needs a tmpfs /tmp with a size: scratch must have a bound")
        if service.get("privileged") or "host" in (
            service.get("network_mode"), service.get("pid"), service.get("ipc")
        ):  # fmt: skip
            yield file.fault(keys, "shares a namespace or all devices with the host; take it out")
        if any("docker.sock" in text for _, text in strings(service.get("volumes", []))):
            yield file.fault(keys, "mounts the engine's socket, which is root on the host")
        user = str(service.get("user", ""))
        own = str(service.get("image", "")).startswith(_OWN)
        if user.split(":")[0] in ("0", "root") or not (own or re.match(r"[1-9]\d*", user)):
            yield file.fault(
                (*keys, "user"), "runs as root: name a user by its number, as the image has it"
            )
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        if not {"memory", "pids"} <= set(limits):
            yield file.fault(keys, "needs deploy.resources.limits with memory and pids")


def watched(file: Composition, _: str) -> Iterator[Fault]:
    """Every service that stays says how it is, and comes back when it ends."""
    for name, service in file.services.items():
        keys, once = ("services", name), service.get("restart") == "no"
        if once != _is_job(file, name):
            yield file.fault(
                keys, 'restart: "no" is for jobs that others wait for; else unless-stopped'
            )
        elif service.get("restart") not in ("no", "unless-stopped", "always"):
            yield file.fault(keys, "needs restart: unless-stopped")
        health = service.get("healthcheck", {})
        if not once and (not health.get("test") or health.get("disable")):
            yield file.fault(keys, "needs a healthcheck")
        if _process(service) and _seconds(service.get("stop_grace_period", "10s")) < _SHUTDOWN:
            yield file.fault(
                (*keys, "stop_grace_period"),
                f"needs stop_grace_period of at least {_SHUTDOWN:.0f}s, BABYLON_SHUTDOWN_SECONDS "
                "and 15 more; it would be killed while it gives its work back",
            )
        migrated = service.get("depends_on", {}).get("migrate", {})
        if _process(service) and migrated.get("condition") != "service_completed_successfully":
            yield file.fault(
                keys, "must wait for migrate with condition: service_completed_successfully"
            )


def _is_job(file: Composition, name: str) -> bool:
    waiting = (service.get("depends_on", {}) for service in file.services.values())
    conditions = (waits.get(name, {}) for waits in waiting if isinstance(waits, dict))
    return any(c.get("condition") == "service_completed_successfully" for c in conditions)


def _process(service: dict[str, Any]) -> bool:
    return list(service.get("command") or [])[:1] == ["run"]


def _seconds(period: str) -> float:
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)([smh])", period))


def out_of_reach(file: Composition, _: str) -> Iterator[Fault]:
    """Only this machine reaches a published port; nobody outside reaches the servers."""
    networks = file.content.get("networks") or {}
    for name, service in file.services.items():
        keys = ("services", name)
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield file.fault((*keys, "ports"), f"port {port}: publish on 127.0.0.1 only")
        if "container_name" in service or (name == "cpu-worker" and "ports" in service):
            yield file.fault(keys, "a container name or a host port allows only one: cannot scale")
        if name in ("postgres", "redis"):
            for network in service.get("networks", ["default"]):
                if (networks.get(network) or {}).get("internal") is not True:
                    yield file.fault(keys, f"network {network} needs internal: true")
            if "ports" in service:
                yield file.fault((*keys, "ports"), "is published; only the other services ask it")


def declared(file: Composition, _: str) -> Iterator[Fault]:
    """What a service uses is declared below; what is declared is used."""
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set()}
    for name, service in file.services.items():
        mine = {
            "networks": set(service.get("networks", [])),
            "volumes": {str(volume).partition(":")[0] for volume in service.get("volumes", [])},
            "secrets": {_source(secret) for secret in _secrets(service)},
        }
        for kind, names in mine.items():
            used[kind] |= names
            for unknown in sorted(names - set(file.content.get(kind) or {})):
                yield file.fault(
                    ("services", name, kind), f"{kind[:-1]} {unknown} is not declared under {kind}"
                )
        for other in service.get("depends_on", {}):
            if other not in file.services:
                yield file.fault(("services", name, "depends_on"), f"there is no service {other}")
    for kind, names in used.items():
        for unused in sorted(set(file.content.get(kind) or {}) - names):
            yield file.fault((kind, unused), f"{kind[:-1]} {unused} is used by no service")


def _secrets(service: dict[str, Any]) -> list[Any]:
    build = service.get("build")
    built = build.get("secrets", []) if isinstance(build, dict) else []
    return [*service.get("secrets", []), *built]


def _source(secret: Any) -> str:
    return str(secret["source"] if isinstance(secret, dict) else secret)


def redis_keeps(file: Composition, _: str) -> Iterator[Fault]:
    """Redis asks for a password, writes what it holds to disk, and never evicts a message."""
    command = " ".join(text for _, text in strings(file.services.get("redis", {}).get("command")))
    needed = {
        r"--appendonly yes": "--appendonly yes: messages must outlive a restart",
        r"--maxmemory-policy noeviction": "--maxmemory-policy noeviction: others drop messages",
        r"requirepass \$\$\(cat /run/secrets/": "requirepass, read from its secret",
    }
    for pattern, what in needed.items():
        if "redis" in file.services and not re.search(pattern, command):
            yield file.fault(("services", "redis", "command"), f"needs {what}")


LAWS: tuple[Law, ...] = (
    fixed_images,
    no_secret_in_sight,
    contained,
    watched,
    out_of_reach,
    declared,
    redis_keeps,
)


def override_faults(file: Composition, main: Composition, version: str) -> Iterator[Fault]:
    """An override changes services that exist, and brings no secret and no loose image."""
    yield from no_secret_in_sight(file, version)
    for name, service in file.services.items():
        if name not in main.services:
            yield file.fault(("services", name), f"{main.name} has no service {name}")
        if "image" in service:
            image, tag = str(service["image"]).rpartition(":")[::2]
            if not image.startswith(_OWN) or tag != version:
                yield file.fault(
                    ("services", name, "image"), f"must be one of ours, of version {version}"
                )
