"""The list of metrics in docs/operations.md is what the code tells: `python -m checks.metrics`.

With ``--write`` it puts the list there; without, it fails where the document says otherwise.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from msgspec import Struct
from prometheus_client.metrics import MetricWrapperBase

from babylon_tasks import metrics
from babylon_tasks.tasks.system_metrics import FAMILIES

DOCUMENT = Path(__file__).parents[1] / "docs" / "operations.md"
_LIST = re.compile(r"(<!-- metrics: generated -->\n).*?(<!-- metrics: end -->)", re.S)
_WORKERS = ("cpu-worker", "gpu-worker")
_OF_TRAINING = ("step", "gradient", "trained", "judgements", "trainer", "inference")


class Listed(Struct, frozen=True):
    """A metric: ``name`` as one queries it, ``family`` as it is declared in a scrape."""

    name: str
    family: str
    kind: str
    labels: tuple[str, ...]
    text: str
    told_by: tuple[str, ...]


def listed() -> list[Listed]:
    """Every metric of ours, by name."""
    found = [
        Listed(name, name, "gauge", labels, text, ("beat",))
        for name, (text, labels) in FAMILIES.items()
    ]
    found.append(
        Listed(
            "babylon_build_info",
            "babylon_build_info",
            "gauge",
            ("version",),
            "The version that runs; 1.",
            ("beat", *_WORKERS),
        )
    )
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            found.append(
                Listed(
                    family.name + ("_total" if family.type == "counter" else ""),
                    family.name,
                    family.type,
                    tuple(metric._labelnames),
                    family.documentation,
                    _teller(family.name),
                )
            )
    return sorted(found, key=lambda metric: metric.name)


def _teller(name: str) -> tuple[str, ...]:
    word = name.removeprefix("babylon_").partition("_")[0]
    if word == "task" or name == "babylon_trajectories_rejected":
        return _WORKERS  # each refuses at its own stage
    return ("gpu-worker",) if word in _OF_TRAINING else ("cpu-worker",)


def table() -> str:
    """The list as the document has it."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels) or '-'} "
        f"| {', '.join(metric.told_by)} | {metric.text} |"
        for metric in listed()
    ]
    head = ["| name | type | labels | exported by | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def main(arguments: list[str]) -> int:
    """Exit code 1, with what to do, where the document is not what the code says."""
    text = DOCUMENT.read_text("utf-8")
    made, places = _LIST.subn(lambda found: found[1] + table() + found[2], text)
    if places != 1:
        print(f"{DOCUMENT.name} has no place for the list of metrics: <!-- metrics: generated -->")
        return 1
    if arguments == ["--write"]:
        DOCUMENT.write_text(made, "utf-8")
    elif made != text:
        print(f"{DOCUMENT.name} lists other metrics than the code tells; run `make docs`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
