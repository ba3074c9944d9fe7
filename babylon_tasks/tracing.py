"""Traces for OpenTelemetry: an hour from its agents' calls to what is decided about its checkpoint.

One trace for each window. Its id follows from the project's name and the window, so every process
knows it and nothing has to be stored or passed on. A span is recorded once what it is about has
ended, and sent by a thread. Without ``BABYLON_TRACES_URL`` nothing is, and OpenTelemetry is not
even imported.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING

from babylon_tasks.errors import SettingsError
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

if TYPE_CHECKING:
    from opentelemetry.trace import Link, SpanContext

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_SEND_MILLISECONDS = 1000  # a killed worker loses no more
_MOST_QUEUED, _AT_ONCE = 2048, 512  # spans; what is beyond is lost
_TIMEOUT_SECONDS = 5  # it must not keep a process from stopping
# Of W3C's header, the version that there is: https://www.w3.org/TR/trace-context/
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

_LENGTH = 55


class Span(StrEnum):
    """What a trace is made of, in the order in which it happens."""

    WINDOW = "window"
    CALL = "call"
    CAPTURE = "capture"
    SCORE = "score"
    STEP = "step"
    DECISION = "decision"


_settings: Settings | None = None
_sender: _Sender | None = None
_mutex = threading.Lock()


def begin(settings: Settings) -> None:
    """Record from now on if the settings say so; raises SettingsError without the extra."""
    global _settings
    if settings.traces_url is not None and not _is_installed():
        raise SettingsError(
            "BABYLON_TRACES_URL is set, but OpenTelemetry is not installed: "
            "pip install 'babylon-tasks[otel]', or unset it"
        )
    _settings = settings if settings.traces_url is not None else None


def is_on() -> bool:
    """Whether spans are recorded."""
    return _settings is not None


def end() -> None:
    """Send what is still to be sent, for at most some seconds."""
    global _sender
    with _mutex:
        sender, _sender = _sender, None
    if sender is not None:
        sender.close()


def record(
    span: Span,
    windows: Sequence[str],
    *,
    began: datetime,
    ended: datetime | None = None,
    error: str | None = None,
    caller: str | None = None,
    **about: str | float | None,
) -> None:
    """Add a span to the trace of each window; those of several windows are linked to each other.

    ``caller``: the header ``traceparent`` of an agent's request, whose trace is linked.
    """
    if _settings is None:
        return
    finish = datetime.now(UTC) if ended is None else ended
    attributes = {f"babylon.{name}": value for name, value in about.items() if value is not None}
    for window in windows:
        others = [one for one in windows if one != window]
        _sending(_settings).send(span, window, others, (began, finish), error, caller, attributes)


def caller(headers: Mapping[bytes, bytes]) -> str | None:
    """Read the header ``traceparent`` where spans are recorded; what it says is checked later."""
    found = headers.get(b"traceparent") if is_on() else None
    return None if found is None else found[:_LENGTH].decode("latin-1")


class _Sender:
    """The exporter of this process, made when it is first needed: not before a worker forks."""

    def __init__(self, settings: Settings) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._project, self._mask = settings.project, Mask(settings).text
        instance = f"{socket.gethostname()}:{os.getpid()}"
        self._resource = Resource.create(
            {"service.name": "babylon-tasks", "service.instance.id": instance}
        )
        exporter = OTLPSpanExporter(f"{settings.traces_url}/v1/traces", timeout=_TIMEOUT_SECONDS)
        # All of them: what OpenTelemetry's own variables say it would refuse here, in a decision.
        self._processor = BatchSpanProcessor(
            exporter,
            max_queue_size=_MOST_QUEUED,
            max_export_batch_size=_AT_ONCE,
            schedule_delay_millis=_SEND_MILLISECONDS,
            export_timeout_millis=_TIMEOUT_SECONDS * 1000,
        )
        atexit.register(end)

    def send(
        self,
        span: Span,
        window: str,
        others: Sequence[str],
        moments: tuple[datetime, datetime],
        error: str | None,
        caller: str | None,
        attributes: dict[str, str | float],
    ) -> None:
        """Queue a span without secrets; where the queue is full it is lost."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Status, StatusCode

        first = self._first_span(window)
        is_first = span is Span.WINDOW
        context = first if is_first else _context(first.trace_id, secrets.randbits(64) or 1)
        began, ended = moments
        masked = {k: self._mask(v) if isinstance(v, str) else v for k, v in attributes.items()}
        message = None if error is None else self._mask(error)
        self._processor.on_end(
            ReadableSpan(
                span,
                context=context,
                parent=None if is_first else first,
                resource=self._resource,
                attributes={"babylon.window": window, **masked},
                links=[*self._links(others, caller)],
                status=Status(StatusCode.UNSET if error is None else StatusCode.ERROR, message),
                start_time=_nanoseconds(began),
                end_time=_nanoseconds(ended),
            )
        )

    def close(self) -> None:
        """Send what is queued."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _first_span(self, window: str) -> SpanContext:
        digest = hashlib.sha256(f"{self._project} {window}".encode()).digest()
        return _context(int.from_bytes(digest[:16]), int.from_bytes(digest[16:24]))

    def _links(self, others: Sequence[str], caller: str | None) -> Iterator[Link]:
        from opentelemetry.trace import Link

        for window in others:
            yield Link(self._first_span(window), {"babylon.window": window})
        found = _TRACEPARENT.fullmatch(caller or "")
        if found is not None:
            yield Link(_context(int(found[1], 16), int(found[2], 16)), {"babylon.caller": True})


def _sending(settings: Settings) -> _Sender:
    global _sender
    with _mutex:
        if _sender is None:
            _sender = _Sender(settings)
        return _sender


def _context(trace: int, span: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000


def _is_installed() -> bool:
    try:
        return find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def record_window(window: str) -> None:
    """Record the hour itself, once it is sealed: the span under which the others are."""
    record(Span.WINDOW, [window], began=window_start(window))
