"""What ``babylon-tasks run gateway`` becomes: it serves until SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import signal
import sys
import threading

from prometheus_client import REGISTRY, disable_created_metrics

from babylon_tasks import log, tracing
from babylon_tasks.errors import SettingsError
from babylon_tasks.free_disk import FreeDisk
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.health.endpoint import Endpoint


def main() -> None:
    """Serve; ends with 2 and a line that says why where the settings cannot be used."""
    # Threads that pack and write captures must not delay the one that answers: by default each
    # may keep it waiting for 5 ms, at every read and write.
    sys.setswitchinterval(0.0005)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        settings = load_settings()
        log.configure(settings)
        log.name_misspelt()
        tracing.begin(settings)
        gateway = Gateway(settings)
        if settings.metrics_port:
            disable_created_metrics()  # type: ignore[no-untyped-call]  # as those of workers, whose children's have none
            REGISTRY.register(FreeDisk("calls", settings.gateway_spool_dir))
            Endpoint(settings.metrics_host, settings.metrics_port, REGISTRY)
        gateway.start()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    # What is there now stays: otherwise each full collection looks through it while answers wait.
    gc.collect()
    gc.freeze()
    ended.wait()
    gateway.stop()
    tracing.end()


if __name__ == "__main__":
    main()
