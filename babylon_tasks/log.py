"""Logging: structlog and the standard library's loggers (Celery's too) in one format, no secrets.

    bind_contextvars(window="2026-01-31T09:00", attempts=1)  # this line and all later ones
    structlog.get_logger(__name__).info("window.scored", scored=7)

``structlog.contextvars`` keeps what the lines of a thread are about (window, step, lineage,
task_id, fencing_token, attempts). A task starts without any of it; a thread inherits it through
``copy_context().run``.

Events are named ``object.past_participle``; all details are fields. JSON lines to standard error,
or readable ones if that is a terminal.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from babylon_tasks.errors import SettingsError
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.plain_text import plain
from babylon_tasks.setting_names import misspelt
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up the process's logging; may be called again. Raises SettingsError on a bad level."""
    target = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping().get(settings.log_level.upper())
    if level is None:
        raise SettingsError(
            f"BABYLON_LOG_LEVEL is {settings.log_level!r}; use DEBUG, INFO, WARNING or ERROR"
        )
    # Exceptions become text before the mask sees them: drivers' messages quote connection strings.
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                Mask(settings),
                *_renderers(settings, target),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def name_misspelt() -> None:
    """Log each name that looks like a setting of ours and is none."""
    for what in misspelt(Settings):
        log.warning("setting.ignored", what=what)


def _plain(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Leave no character in an event that would act on a terminal; JSON escapes them itself."""
    return {
        plain(key): plain(value, keep="\n\t" if key in ("exception", "stack") else "")
        if isinstance(value, str)
        else value
        for key, value in event.items()
    }


def _renderers(settings: Settings, target: TextIO) -> list[Any]:
    if settings.log_format == "console" or (settings.log_format == "auto" and target.isatty()):
        console = structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        return [_plain, console]
    return [structlog.processors.JSONRenderer(), lambda _logger, _method, line: plain(line)]
