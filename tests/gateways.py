"""A gateway in the test's own process, before an inference endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from endpoint import KEY as ENDPOINT_KEY

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.settings import Settings

KEY = "key-of-the-agents-0"


@contextmanager
def opened(
    make_settings: Callable[..., Settings],
    connection: Connection,
    trainer: str,
    spool: Path,
    lineage: str = "tests",
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
    lineages.announce(connection, lineage, backend="cpu", base_url=trainer)
    gateway = Gateway(settings)
    gateway.start()
    try:
        yield f"http://127.0.0.1:{gateway.port}/v1"
    finally:
        gateway.stop()
