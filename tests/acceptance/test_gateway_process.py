"""The gateway as a process: it exports what is documented of it, and ends when it is asked to."""

from __future__ import annotations

from acceptance.harness import Babylon, until
from acceptance.test_metrics import ask, scrape

from checks.metrics import listed


def test_it_exports_each_of_its_metrics_and_ends_in_order(babylon: Babylon) -> None:
    babylon.start("gateway")
    until("it exports metrics", lambda: ask(babylon, "gateway", "/metrics")[0] == 200)

    families = scrape(babylon, "gateway")
    for metric in listed():
        if "gateway" in metric.exported_by:
            assert families[metric.family].type == metric.kind, metric

    ours = {name for name in families if name.startswith("babylon_")}
    assert ours <= {metric.family for metric in listed()}, "nothing else"

    gateway = babylon.terminate("gateway")
    assert gateway.child.wait(60) == 0, babylon.log("gateway")
