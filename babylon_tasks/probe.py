"""Check that this container's process is healthy: ``python -m babylon_tasks.probe``.

For HEALTHCHECK: queries the process's own /livez, Flower's /healthcheck (``… probe flower``), or
/healthz of the gateway or of the dashboard (``… probe gateway``), at the address that it listens
on. It imports nothing of the package, since it runs twice a minute in every container.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_SECONDS = 4.0
OWN_PORTS = {
    "flower": (5555, "/healthcheck"),
    "gateway": (8200, "/healthz"),
    "dashboard": (8300, "/healthz"),
}


def own(host: str) -> str:
    """Return the address at which a process that listens on ``host`` reaches itself."""
    bare = host.strip().strip("[]")
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare, bare)  # noqa: S104


def ask(host: str, port: int, path: str) -> str | None:
    """Return what is wrong, or None if the process answers 200."""
    connection = HTTPConnection(own(host), port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status == 200:
            return None
        return f"port {port}{path}: {answer.status} {answer.read(500).decode('utf-8', 'replace')}"
    except (OSError, HTTPException) as error:
        return f"port {port}{path}: {error}"
    finally:
        connection.close()


def main() -> None:
    """Exit with 0 if the process is healthy, else with 1 and the reason."""
    for name, (default, path) in OWN_PORTS.items():
        if sys.argv[1:] == [name]:
            host = os.environ.get(f"BABYLON_{name.upper()}_HOST", "")
            sys.exit(ask(host, _port(f"BABYLON_{name.upper()}_PORT", default), path))
    port = _port("BABYLON_METRICS_PORT", default=0)
    if not port:
        sys.exit("BABYLON_METRICS_PORT is not set: nothing to ask")
    sys.exit(ask(os.environ.get("BABYLON_METRICS_HOST", ""), port, "/livez"))


def _port(name: str, default: int) -> int:
    # What is empty is not set, as everywhere.
    return int(os.environ.get(name, "").strip() or default)


if __name__ == "__main__":
    main()
