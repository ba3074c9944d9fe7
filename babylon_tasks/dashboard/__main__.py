"""What ``babylon-tasks run dashboard`` becomes: it serves until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import sys
import threading

from babylon_tasks import log
from babylon_tasks.dashboard.process import Dashboard
from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import load_settings


def main() -> None:
    """Serve; ends with 2 and a line that says why where the settings cannot be used."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        settings = load_settings()
        log.configure(settings)
        log.name_misspelt()
        dashboard = Dashboard(settings)
        dashboard.start()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    ended.wait()
    dashboard.stop()


if __name__ == "__main__":
    main()
