"""How much room is left where a process stores what it may not lose, for Prometheus."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

NAME = "babylon_disk_free_bytes"
LABELS = ("folder",)
TEXT = (
    "Free bytes on the disk of checkpoints (data: BABYLON_DATA_DIR) or of captured calls (calls: "
    "BABYLON_GATEWAY_SPOOL_DIR)."
)


class FreeDisk(Collector):
    """The room on the disk that has the folder, or that will have it; absent if nobody can say."""

    def __init__(self, label: str, folder: Path) -> None:
        self._label = label
        self._folder = folder.absolute()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """List the family without a sample."""
        yield GaugeMetricFamily(NAME, TEXT, labels=LABELS)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask the system, at each scrape."""
        family = GaugeMetricFamily(NAME, TEXT, labels=LABELS)
        try:
            nearest = next(p for p in (self._folder, *self._folder.parents) if p.exists())
            family.add_metric([self._label], shutil.disk_usage(nearest).free)
        except OSError:
            pass  # the folder is unreachable: readiness and doctor say so
        yield family
