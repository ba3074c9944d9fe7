"""A gateway before an inference endpoint: in the test's own process, or as one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from endpoint import KEY as ENDPOINT_KEY
from endpoint import PATIENCE
from upstream import Upstream

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.settings import Settings

KEY = "key-of-the-agents-0"
# Nobody listens there: a gateway begins all the same.
NO_POSTGRES = "postgresql://nobody:x@127.0.0.1:1/x"


class Played(NamedTuple):
    """A gateway before the checkpoints' server and another one, both played by the test."""

    url: str
    trainer: Upstream
    other: Upstream

    def ask(self, model: str = "tests", **fields: Any) -> httpx.Response:
        """The reply to one question."""
        messages = [{"role": "user", "content": "Will ACME close higher?"}]
        return httpx.post(
            f"{self.url}/chat/completions",
            json={"model": model, "messages": messages, **fields},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=PATIENCE,
        )


@contextmanager
def opened(
    make_settings: Callable[..., Settings],
    connection: Connection,
    trainer: str,
    spool: Path,
    lineage: str = "tests",
    backend: str = "cpu",
    **values: Any,
) -> Iterator[str]:
    """Its base URL; the lineage serves step 0 at ``trainer``. ``KEY`` is the agents' key."""
    settings = make_settings(
        lineage=lineage,
        gateway_port=0,
        gateway_spool_dir=spool,
        inference_api_key=ENDPOINT_KEY,
        gateway_keys=f"agents:{KEY}",
        **values,
    )
    lineages.ensure(connection, settings)
    lineages.announce(connection, lineage, backend=backend, base_url=trainer)
    gateway = Gateway(settings)
    gateway.start()
    try:
        yield f"http://127.0.0.1:{gateway.port}/v1"
    finally:
        gateway.stop()


@contextmanager
def started(folder: Path, database_url: str, **values: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process; ``values`` are settings, by their names in the code. It is killed in the end.

    What it says is in the file ``log`` of the folder.
    """
    named = {
        "inference_api_key": ENDPOINT_KEY,
        "gateway_keys": f"agents:{KEY}",
        "gateway_spool_dir": folder / "calls",
        "lineage": "tests",
        **values,
    }
    environment = {f"BABYLON_{name.upper()}": str(value) for name, value in named.items()}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "babylon_tasks.gateway"],
            cwd=folder,
            env={**os.environ, **environment, "DATABASE_URL": database_url},
            stderr=log,
        ) as made,
    ):
        try:
            yield made
        finally:
            made.kill()
