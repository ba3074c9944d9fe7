"""Logging: structlog and the standard library's loggers (Celery's too) in one format, no secrets.

    bind_contextvars(window="2026-01-31T09:00", attempts=1)  # this line and all later ones
    structlog.get_logger(__name__).info("window.scored", scored=7)

``structlog.contextvars`` holds what the lines of a thread are about (window, step, lineage,
task_id, fencing_token, attempts). A task starts without any of it; a thread inherits it through
``copy_context().run``.

Events are named ``object.past_participle``; all details are fields. JSON lines to standard error,
or readable ones if that is a terminal.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import SecretStr

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings

MASK = "***"
# Only whole last words: `trainable_tokens` and `token_ids` are figures, not secrets, like
# `fencing_token`.
_SECRET_KEY = re.compile(
    r"(?:password|passwd|secret"
    r"|(?:^|(?<!fencing)[_-])(?:token|api[_-]?key|authorization|credentials?))$",
    re.I,
)
_URL_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@\"']*:)[^\s/\"']+@", re.I)
_BEARER = re.compile(r"(bearer\s+)[^\s\"',]+", re.I)
# A shorter value, such as the default key "default", is not a secret and too common a word to mask.
_MIN_SECRET = 8


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
                _renderer(settings, target),
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


class Mask:
    """A structlog processor that masks secrets: by key, by shape, and by known value."""

    def __init__(self, settings: Settings | None) -> None:
        # Without settings, only keys and shapes are masked.
        known = set() if settings is None else _known_secrets(settings)
        secrets = sorted(known, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, secrets))) if secrets else None

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> Mapping[str, Any]:
        return {key: self._entry(key, value) for key, value in event.items()}

    def text(self, text: str) -> str:
        """Mask the secrets in a text; for what is stored or shown outside the log."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _BEARER.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1{MASK}@", text))

    def _entry(self, key: object, value: Any) -> Any:
        if value is not None and _SECRET_KEY.search(str(key)):
            return MASK
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(key): self._entry(key, entry) for key, entry in value.items()}
        if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
            return [self._value(entry) for entry in value]
        return self.text(str(value))


def _known_secrets(settings: Settings) -> set[str]:
    secrets: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            secret = value.get_secret_value()
            if "://" in secret:
                secret = urlsplit(secret).password or ""
            secrets |= {secret, unquote(secret)}
            # Flower's user:password,user:password
            secrets |= {login.partition(":")[2] for login in secret.split(",")}
    return {secret for secret in secrets if len(secret) >= _MIN_SECRET}


def _renderer(settings: Settings, target: TextIO) -> Any:
    if settings.log_format == "console" or (settings.log_format == "auto" and target.isatty()):
        return structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer()
