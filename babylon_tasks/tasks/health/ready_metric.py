"""Readiness as a figure: what ``/readyz`` says, for alerts."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from babylon_tasks.tasks.health.liveness import Probe

NAME = "babylon_ready"
TEXT = "Whether this process could do its work now, as /readyz says: 1 or 0."


class ReadyMetric(Collector):
    """Asks the probe at each scrape; both share its answers."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """List the family without asking."""
        yield GaugeMetricFamily(NAME, TEXT)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask whether the process is ready."""
        good, _ = self._probe.ready()
        yield GaugeMetricFamily(NAME, TEXT, value=float(good))
