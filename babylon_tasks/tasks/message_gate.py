"""Let through only our own messages, and of those only the task, its argument and its id.

Anyone who can write to Redis can send messages. A message is therefore not checked and then
trusted: three facts are read from it, and a new message is made of these. Nothing else that it
orders (time limits, callbacks, a chain, an expiry, another queue) can reach Celery or kombu.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Annotated, Any, Literal, TypeVar

import structlog
from msgspec import Meta, Raw, Struct, field
from msgspec.json import Decoder

from babylon_tasks import metrics
from babylon_tasks.errors import BadWindowId
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.app import SENT_AT, TASKS, Argument, family
from babylon_tasks.tasks.bounded_replies import Oversized
from babylon_tasks.windows import window_start

# Ours have about 1 KiB. Checked before anything is decoded.
_MAX_BYTES = 16 * 1024
_EXCERPT = 200  # characters
_MAX_LOGGED, _LOGGED_SECONDS = 100, 60.0  # a flood must not fill the disk
log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_Id = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z][0-9A-Za-z_.-]{0,63}\Z")]
_UnixTime = Annotated[float, Meta(ge=0, le=1e11)]


class ForeignMessage(ValueError):
    """The message is not one of ours; the text is the value of label ``reason``."""


class _Headers(Struct):
    task: str
    id: _Id
    sent_at: _UnixTime | None = field(default=None, name=SENT_AT)


class _Properties(Struct):
    body_encoding: Literal["base64"]


class _Envelope(Struct):
    body: str
    headers: _Headers
    properties: _Properties
    content_type: Literal["application/json"] = field(name="content-type")
    content_encoding: Literal["utf-8"] = field(name="content-encoding")


class _ReplyProperties(_Properties):
    delivery_tag: str
    delivery_info: dict[str, Any]


class _Reply(Struct):
    body: str
    properties: _ReplyProperties
    headers: dict[str, Any] = {}


_ENVELOPE = Decoder(_Envelope)
_REPLY = Decoder(_Reply)
_BODY: Decoder[tuple[list[str | None], dict[str, str | None], Raw]] = Decoder(
    tuple[list[str | None], dict[str, str | None], Raw]
)


def admit(queue: str, raw: bytes) -> bytes:
    """Return the message that Celery may read instead of ``raw``; raises ForeignMessage."""
    if len(raw) > _MAX_BYTES or isinstance(raw, Oversized):
        raise ForeignMessage("too_large")
    envelope = _parsed(_ENVELOPE, raw, "envelope")
    headers = envelope.headers
    task = TASKS.get(headers.task)
    if task is None or task.queue != family(queue):
        raise ForeignMessage("task")
    try:
        body = base64.b64decode(envelope.body, validate=True)
    except ValueError as error:
        raise ForeignMessage("body") from error
    args, kwargs, _ = _parsed(_BODY, body, "body")
    return _canonical(headers, queue, _arguments(task.argument, args, kwargs))


def admit_reply(raw: bytes) -> bytes:
    """Return a worker's answer to a command if kombu can read it; raises ForeignMessage."""
    if isinstance(raw, Oversized):
        raise ForeignMessage("too_large")
    _parsed(_REPLY, raw, "envelope")
    return raw


def _parsed(decoder: Decoder[_T], raw: bytes, part: str) -> _T:
    try:
        return decoder.decode(raw)
    except (ValueError, RecursionError) as error:  # msgspec's errors, UnicodeDecodeError
        raise ForeignMessage(part) from error


def _arguments(
    argument: Argument, args: list[str | None], kwargs: dict[str, str | None]
) -> list[str | None]:
    given = [*args, *kwargs.values()]
    if kwargs.keys() - {"window"} or len(given) > 1:
        raise ForeignMessage("arguments")
    if argument is Argument.NONE:
        if given:
            raise ForeignMessage("arguments")
        return []
    window = given[0] if given else None
    if window is None:
        if argument is Argument.WINDOW:
            raise ForeignMessage("arguments")
        return [None]
    try:
        window_start(window)
    except BadWindowId as error:
        raise ForeignMessage("arguments") from error
    return [window]


def _canonical(headers: _Headers, queue: str, args: list[str | None]) -> bytes:
    body = json.dumps([args, {}, {}]).encode()
    made: dict[str, Any] = {
        "lang": "py",
        "task": headers.task,
        "id": headers.id,
        "root_id": headers.id,
        "ignore_result": True,
        "argsrepr": repr(tuple(args)),
        "kwargsrepr": "{}",
    }
    if headers.sent_at is not None:
        made[SENT_AT] = headers.sent_at
    message = {
        "body": base64.b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": made,
        "properties": {
            "correlation_id": headers.id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return json.dumps(message).encode()


class ForeignMessages:
    """Count what was refused, and log each once, at most a hundred a minute."""

    def __init__(self) -> None:
        self._since = 0.0
        self._logged = 0
        self._unlogged = 0

    def note(self, queue: str, reason: str, raw: bytes) -> None:
        """Count one and log its beginning; secrets of ours in it are masked."""
        metrics.MESSAGES_REFUSED.labels(queue, reason).inc()
        now = time.monotonic()
        if now - self._since > _LOGGED_SECONDS:
            if self._unlogged:
                log.warning("messages.refused", unlogged=self._unlogged)
            self._since, self._logged, self._unlogged = now, 0, 0
        if self._logged >= _MAX_LOGGED:
            self._unlogged += 1
            return
        self._logged += 1
        # Masked before it is cut: half a secret is not recognised any more.
        beginning = Mask(load_settings()).text(raw[: 10 * _EXCERPT].decode("utf-8", "replace"))
        log.warning(
            "message.refused",
            queue=queue,
            reason=reason,
            bytes=raw.size if isinstance(raw, Oversized) else len(raw),
            excerpt=ascii(beginning[:_EXCERPT])[: 2 * _EXCERPT],
            todo="it was discarded; its sender can write to our Redis",
        )
