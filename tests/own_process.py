"""Python run in a process of its own: the Celery application and the settings are the process's."""

from __future__ import annotations

import os
import subprocess
import sys

from babylon_tasks.settings import Settings


def run(script: str, settings: Settings, **environment: str) -> str:
    """Run a script with the servers of these settings; returns what it wrote."""
    servers = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **servers, **environment},
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout
