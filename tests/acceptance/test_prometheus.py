"""A real Prometheus with our rules scrapes a real process, and sees it end."""

from __future__ import annotations

from pathlib import Path

from acceptance.harness import Babylon, until
from prometheus import running

from checks.alerts import RULES, rules


def test_prometheus_loads_the_rules_scrapes_a_process_and_notices_its_end(
    babylon: Babylon, tmp_path: Path
) -> None:
    babylon.start("beat")
    target = f"127.0.0.1:{babylon.stack.metrics_ports['beat']}"
    with running(tmp_path, [target]) as prometheus:
        until("it answers", lambda: prometheus.values('up{job="babylon-tasks"}') == [1])
        until("Postgres and Redis do", lambda: prometheus.values("babylon_source_up") == [1, 1])

        loaded = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        names = [rule["alert"] for rule in rules(RULES.read_text("utf-8"))]
        assert sorted(rule["name"] for rule in loaded) == sorted(names)
        until(
            "each has been evaluated",
            lambda: (
                {
                    rule["health"]
                    for group in prometheus.ask("rules")["groups"]
                    for rule in group["rules"]
                }
                == {"ok"}
            ),
        )
        until(
            "just what does not run is missed",
            lambda: set(prometheus.alerts()) == {"BabylonScorerMissing"},
        )

        babylon.kill("beat")

        until("its end is noticed", lambda: "BabylonTargetDown" in prometheus.alerts())
        alert = prometheus.alerts()["BabylonTargetDown"]
        assert alert["state"] == "pending"
        assert alert["annotations"]["summary"] == f"{target} does not answer Prometheus"
