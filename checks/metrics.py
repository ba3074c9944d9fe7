"""Check that docs/operations.md lists the exported metrics: `python -m checks.metrics`.

With ``--write`` it writes the list there; without, it fails if the document differs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from msgspec import Struct
from prometheus_client.metrics import MetricWrapperBase

from babylon_tasks import free_disk, metrics
from babylon_tasks.gateway import metrics as gateway
from babylon_tasks.tasks.health import ready_metric
from babylon_tasks.tasks.system_metrics import FAMILIES
from checks.violations import Violation, end

DOCUMENT = Path(__file__).parents[1] / "docs" / "operations.md"
_LIST = re.compile(r"(<!-- metrics: generated -->\n).*?(<!-- metrics: end -->)", re.S)


class ListedMetric(Struct, frozen=True):
    """A metric: ``name`` as in a query, ``family`` as declared in a scrape."""

    name: str
    family: str
    kind: str
    labels: tuple[str, ...]
    text: str
    exported_by: tuple[str, ...]


def listed() -> list[ListedMetric]:
    """List our metrics, by name."""
    everybody, store = ("beat", "cpu-worker", "gpu-worker"), ("gpu-worker", "gateway")
    found = [
        _gauge("babylon_build_info", ("version",), "The version that runs; 1.", everybody),
        _gauge(ready_metric.NAME, (), ready_metric.TEXT, everybody),
        _gauge(free_disk.NAME, free_disk.LABELS, free_disk.TEXT, store),
    ]
    for name, (text, labels) in FAMILIES.items():
        found.append(_gauge(name, labels, text, ("beat",)))
    for metric in [*vars(metrics).values(), *vars(gateway).values()]:
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = tuple(metric._labelnames)
            either = (
                metrics.TRAJECTORIES_REJECTED,
                metrics.MESSAGES_REFUSED,
                metrics.REDIS_INTERRUPTIONS,
            )
            if metric in vars(gateway).values():
                workers: tuple[str, ...] = ("gateway",)
            elif "task" in labels or metric in either:
                workers = ("cpu-worker", "gpu-worker")
            elif "lineage" in labels or metric is metrics.CALLS_JOINED:
                workers = ("gpu-worker",)  # it plans, and it alone knows whose lineage it is
            else:
                workers = ("cpu-worker",)
            found.append(
                ListedMetric(name, family.name, family.type, labels, family.documentation, workers)
            )
    return sorted(found, key=lambda metric: metric.name)


def _gauge(
    name: str, labels: tuple[str, ...], text: str, exported_by: tuple[str, ...]
) -> ListedMetric:
    return ListedMetric(name, name, "gauge", labels, text, exported_by)


def table() -> str:
    """Format the list for the document."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels) or '-'} "
        f"| {', '.join(metric.exported_by)} | {metric.text} |"
        for metric in listed()
    ]
    head = ["| name | type | labels | exported by | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def violations(text: str) -> list[Violation]:
    """Check that the document lists what the code exports."""
    if _LIST.sub(_made, text) == text and _LIST.search(text):
        return []
    return [Violation(DOCUMENT.name, "does not list what the code exports; run `make docs`")]


def _made(found: re.Match[str]) -> str:
    return found[1] + table() + found[2]


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(_LIST.sub(_made, DOCUMENT.read_text("utf-8")), "utf-8")
    end("metrics", violations(DOCUMENT.read_text("utf-8")), "docs/operations.md lists them all")
