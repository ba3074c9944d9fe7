"""Prometheus and promtool: the system's, or Debian's as ``make prometheus`` unpacks them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from documents import ROOT
from endpoint import until

from babylon_tasks.sandbox.servers import free_port
from checks.alerts import RULES

_UNPACKED = ROOT / ".prometheus"


def program(name: str) -> Path:
    """Find one of the two."""
    installed = shutil.which(name)
    if installed:
        return Path(installed)
    if not (_UNPACKED / ".installed").exists():
        raise FileNotFoundError(f"there is no {name}: run `make prometheus`")
    return _UNPACKED / name


class Prometheus:
    """A server that runs; its answers are those of its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; fails with Prometheus's reason where it refuses."""
        reply = httpx.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=30)
        answer = reply.json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, query: str) -> list[float]:
        """The values of an expression now."""
        return [float(one["value"][1]) for one in self.ask("query", query=query)["result"]]

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Those that are pending or fire, by name."""
        return {one["labels"]["alertname"]: one for one in self.ask("alerts")["alerts"]}


@contextmanager
def running(folder: Path, targets: Sequence[str] = ()) -> Iterator[Prometheus]:
    """A real one with our rules, and its data in ``folder``; it scrapes the targets each second."""
    config: Mapping[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "babylon-tasks", "static_configs": [{"targets": list(targets)}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), "utf-8")
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "babylon_tasks.sandbox.parent_death", str(os.getpid())),
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _is_ready(server, address, folder / "prometheus.log"))
        yield Prometheus(f"http://{address}")
    finally:
        server.kill()
        server.wait(30)


def _is_ready(server: subprocess.Popen[bytes], address: str, log: Path) -> bool:
    assert server.poll() is None, log.read_text("utf-8")[-2000:]
    try:
        return httpx.get(f"http://{address}/-/ready").status_code == 200
    except httpx.TransportError:
        return False
