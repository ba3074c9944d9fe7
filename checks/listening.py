"""Where units listen is where others look for them: ports, probes, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from babylon_tasks.processes import ProcessName
from babylon_tasks.settings import Settings, variable
from checks.faults import Fault
from checks.told import serves
from checks.units import Unit

# What a process answers, by the name of its port.
PATHS = {"metrics": {"/livez", "/readyz"}, "http": {"/healthcheck"}}


def listens(unit: Unit, settings: Settings, *, in_kubernetes: bool) -> Iterator[Fault]:
    """Every law of a unit's ports."""
    if unit.process is None:
        return
    fields = {}
    if unit.process == ProcessName.FLOWER:
        fields["http"] = "flower_port"
    else:
        fields["metrics"] = "metrics_port"
    if serves(unit, settings):
        fields["inference"] = "inference_port"
        yield from _announced(unit, settings)
    numbers = {name: getattr(settings, field) for name, field in fields.items()}
    if in_kubernetes:
        for name, number in numbers.items():
            declared = unit.ports.get(name)
            if declared != number:
                yield unit.fault(
                    f"{variable(fields[name])} is {number}, but its port {name} is {declared}"
                )
        for name in set(unit.ports) - set(numbers):
            yield unit.fault(f"port {name}: {unit.process} does not listen there")
    else:
        for number in unit.ports.values():
            if number not in numbers.values():
                yield unit.fault(
                    f"publishes port {number}, on which {unit.process} does not listen: "
                    f"{', '.join(f'{variable(f)} is {numbers[n]}' for n, f in fields.items())}"
                )
    yield from _probed(unit, numbers)


def _probed(unit: Unit, numbers: dict[str, int]) -> Iterator[Fault]:
    if not unit.asked:
        yield unit.fault("nobody asks the process itself how it is: /livez, or /healthcheck")
    for asked in unit.asked:
        by_number = {str(number): name for name, number in numbers.items()}
        name = by_number.get(asked.port, asked.port)
        if name not in numbers:
            yield unit.fault(f"a probe asks port {asked.port}, on which nobody listens")
        elif not numbers[name]:
            yield unit.fault(f"a probe asks port {name}, which is not open: it is set to 0")
        elif asked.path not in PATHS.get(name, set()):
            answers = ", ".join(sorted(PATHS.get(name, set()))) or "none that a probe may ask"
            yield unit.fault(f"a probe asks {asked.path} of port {name}; its paths are {answers}")


def _announced(unit: Unit, settings: Settings) -> Iterator[Fault]:
    """Agents are told an address at which this unit is."""
    parts = urlsplit(settings.inference_url or "")
    if parts.port != settings.inference_port:
        yield unit.fault(
            f"{variable('inference_url')} names port {parts.port}, but "
            f"{variable('inference_port')} is {settings.inference_port}"
        )
    host = (parts.hostname or "").removesuffix(".cluster.local")
    if host not in unit.addresses:
        reached = ", ".join(sorted(unit.addresses)) or "nobody: no Service leads to it"
        yield unit.fault(
            f"{variable('inference_url')} names {host}, but it is reached as {reached}"
        )
