"""Check that units listen where others connect: ports, probes, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from babylon_tasks.probe import TIMEOUT_SECONDS
from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import Settings, variable
from babylon_tasks.tasks.health.bounded_check import ANSWER_SECONDS
from checks.drift.containers import Unit
from checks.drift.settings import serves
from checks.violations import Violation

# What a process answers, by the name of its port.
PATHS = {
    "metrics": {"/livez", "/readyz"},
    "http": {"/healthcheck"},
    "gateway": {"/healthz", "/readyz"},
    "dashboard": {"/healthz"},
}


def listens(unit: Unit, settings: Settings) -> Iterator[Violation]:
    """Check every rule of a unit's ports."""
    if unit.process is None:
        return
    alone: dict[str, dict[str, str]] = {
        ProcessName.FLOWER: {"http": "flower_port"},
        ProcessName.DASHBOARD: {"dashboard": "dashboard_port"},
    }
    fields = alone.get(unit.process, {"metrics": "metrics_port"})
    if unit.process == ProcessName.GATEWAY:
        fields["gateway"] = "gateway_port"
    if serves(unit, settings):
        fields["inference"] = "inference_port"
        yield from _announced(unit, settings)
    numbers = {name: int(getattr(settings, field)) for name, field in fields.items()}
    states = {name: f"{variable(fields[name])} is {number}" for name, number in numbers.items()}
    if unit.owner is not None:
        for name, number in numbers.items():
            if unit.ports.get(name) != number:
                yield unit.violation(
                    f"{states[name]}, but its port {name} is {unit.ports.get(name)}"
                )
        for name in set(unit.ports) - set(numbers):
            yield unit.violation(f"port {name}: {unit.process} does not listen there")
    else:
        for number in set(unit.ports.values()) - set(numbers.values()):
            yield unit.violation(
                f"publishes port {number}, on which {unit.process} does not listen: "
                f"{', '.join(states.values())}"
            )
    yield from _probed(unit, numbers)


def _probed(unit: Unit, numbers: dict[str, int]) -> Iterator[Violation]:
    if not unit.probes:
        yield unit.violation("no probe asks the process itself: /livez, or /healthcheck")
    # The gateway's port of metrics has nothing else.
    paths = {**PATHS, "metrics": set[str]()} if "gateway" in numbers else PATHS
    by_number = {str(number): name for name, number in numbers.items()}
    # In Compose a program asks, which itself gives up first.
    least = TIMEOUT_SECONDS if unit.owner is None else ANSWER_SECONDS
    for probe in unit.probes:
        port, path = probe.port, probe.path
        name = by_number.get(port, port)
        if name not in numbers:
            yield unit.violation(f"a probe asks port {port}, on which nothing listens")
        elif not numbers[name]:
            yield unit.violation(f"a probe asks port {name}, which is not open: it is set to 0")
        elif path not in paths.get(name, set()):
            answers = ", ".join(sorted(paths.get(name, set()))) or "none that a probe may ask"
            yield unit.violation(f"a probe asks {path} of port {name}; its paths are {answers}")
        elif probe.seconds <= least:
            yield unit.violation(
                f"a probe of {path} waits {probe.seconds:g} s: an answer may take {least:g} s"
            )


def _announced(unit: Unit, settings: Settings) -> Iterator[Violation]:
    """Check that the address announced to agents leads to this unit."""
    parts = urlsplit(settings.inference_url or "")
    if parts.port != settings.inference_port:
        yield unit.violation(
            f"{variable('inference_url')} names port {parts.port}, but "
            f"{variable('inference_port')} is {settings.inference_port}"
        )
    host = (parts.hostname or "").removesuffix(".cluster.local")
    if host not in unit.addresses:
        reached = ", ".join(sorted(unit.addresses)) or "nothing: no Service leads to it"
        what = f"{variable('inference_url')} names {host}, but it is reached as {reached}"
        yield unit.violation(what)
