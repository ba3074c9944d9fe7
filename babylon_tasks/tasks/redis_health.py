"""Whether Redis takes our writes, and why not."""

from __future__ import annotations

from enum import StrEnum

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # redis-py's name; ours and Python's are not used here
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import KEY_PREFIX
from babylon_tasks.tasks.redis_connection import open_client
from babylon_tasks.tasks.tls_advice import tls_advice

_PROBE = KEY_PREFIX + "probe"
_PROBE_MILLISECONDS = 1000
_TEXT = 200  # characters


class WhyUnusable(StrEnum):
    """Why Redis cannot be used now: the values of the metric's label ``trouble``."""

    AWAY = "away"
    LOADING = "loading"
    FULL = "full"
    READ_ONLY = "read_only"
    LOGIN = "login"
    TLS = "tls"
    REFUSED = "refused"


_WHY: tuple[tuple[type[Exception], WhyUnusable], ...] = (
    (AuthenticationError, WhyUnusable.LOGIN),
    (NoPermissionError, WhyUnusable.LOGIN),
    (BusyLoadingError, WhyUnusable.LOADING),
    (OutOfMemoryError, WhyUnusable.FULL),
    (ReadOnlyError, WhyUnusable.READ_ONLY),
    (ConnectionError, WhyUnusable.AWAY),
    (TimeoutError, WhyUnusable.AWAY),
    (OSError, WhyUnusable.AWAY),
)
_ADVICE = {
    # A server that wants a certificate may have hung up before its reason is read.
    WhyUnusable.AWAY: "check REDIS_URL (redis:// for a port without TLS, rediss:// for one with "
    "it, ssl_certfile and ssl_keyfile where it asks for a certificate) and that the server runs",
    WhyUnusable.LOADING: "it is loading its data and will answer",
    WhyUnusable.FULL: "free memory, or raise maxmemory",
    WhyUnusable.READ_ONLY: "REDIS_URL must lead to the primary; it may be failing over",
    WhyUnusable.LOGIN: "check the user and password in REDIS_URL; processes read them at start-up",
    WhyUnusable.REFUSED: "see the server's log",
}


def why_unusable(error: BaseException) -> WhyUnusable:
    """Classify an error of redis-py, or one of kombu's or Celery's that was raised from it."""
    root = _root(error)
    if tls_advice(root) is not None:
        return WhyUnusable.TLS
    return next((kind for types, kind in _WHY if isinstance(root, types)), WhyUnusable.REFUSED)


def describe(error: BaseException) -> str:
    """Say what Redis answered and what to do, in one line."""
    root = _root(error)
    lines = str(root).splitlines() or [type(root).__name__]
    text = lines[0].rpartition(" of pipeline caused error: ")[2]
    kind = why_unusable(root)
    return f"{kind}: {text[:_TEXT]}; {tls_advice(root) or _ADVICE[kind]}"


def _root(error: BaseException) -> BaseException:
    if isinstance(error, RedisError | OSError):
        return error
    cause = error.__cause__ or error.__context__
    return error if cause is None else _root(cause)


def refusal(settings: Settings, patience: float) -> str | None:
    """Try to write to Redis, waiting ``patience`` seconds; return why it cannot, or None."""
    try:
        with open_client(settings, patience) as client:
            client.set(_PROBE, "", px=_PROBE_MILLISECONDS)
    except SettingsError as error:
        return str(error)
    except (RedisError, OSError) as error:
        return describe(error)
    return None
