"""``celery -A babylon_tasks ...`` finds the application here; nothing else imports this module."""

from __future__ import annotations

from babylon_tasks.tasks.app import app

__all__ = ["app"]
