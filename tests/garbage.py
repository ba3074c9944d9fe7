"""What must never be run, whoever puts it into a queue: each kind by name, as bytes."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Mapping
from functools import cache
from typing import Any

WINDOW = "2025-12-31T23:00"
DEEP = 100_000


def envelope(
    task: str = "babylon.score_window.v1",
    args: Any = (WINDOW,),
    kwargs: Any = None,
    *,
    embed: Any = None,
    headers: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A message as Celery sends it: a good one, but for what is changed."""
    body = json.dumps([args, kwargs or {}, embed or {"chain": None, "callbacks": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": "0c2d9f1e-7f0d-4a53-8f1a-3f6c1f5b6a11",
            "root_id": "0c2d9f1e-7f0d-4a53-8f1a-3f6c1f5b6a11",
            "parent_id": None,
            "group": None,
            "retries": 0,
            **(headers or {}),
        },
        "properties": {
            "correlation_id": "0c2d9f1e-7f0d-4a53-8f1a-3f6c1f5b6a11",
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "cpu"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "8b6c6f5e-5f3c-4a68-93a5-1d9b2b4f1c01",
            **(properties or {}),
        },
        **changes,
    }


def raw(message: object) -> bytes:
    """The bytes of a message in Redis."""
    return json.dumps(message).encode()


def encoded(body: str | bytes) -> str:
    """A body as an envelope holds it."""
    return base64.b64encode(body.encode() if isinstance(body, str) else body).decode()


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in envelope().items() if key != name}


@cache
def garbage() -> dict[str, bytes]:
    """Every kind for queue ``cpu``; none of them may start a task."""
    deep = "[" * DEEP + "]" * DEEP
    bodies: dict[str, Any] = {
        "null": "null",
        "list": "[]",
        "one entry": "[[]]",
        "text": '"x"',
        "number": "5",
        "object": '{"args": []}',
        "four entries": "[[], {}, {}, {}]",
        "not JSON": "{{{",
        "empty": "",
        "deep": deep,
        "deep argument": f"[[{deep}], {{}}, {{}}]",
        "not UTF-8": b"\xff\xfe\x00[",
        "pickle": pickle.dumps(((WINDOW,), {}, {})),
        "args an object": '[{"0": "x"}, {}, {}]',
        "kwargs a list": f'[["{WINDOW}"], [], {{}}]',
    }
    arguments: dict[str, Any] = {
        "none": (),
        "two": (WINDOW, WINDOW),
        "number": (5,),
        "list": ([WINDOW],),
        "null": (None,),
        "path": ("../../etc/passwd",),
        "NUL": ("2025-12-31T23:00\0",),
        "line": (WINDOW + "\n",),
        "surrogate": ("\ud800",),
        "no such hour": ("2025-13-31T23:00",),
        "not ASCII": ("２０２５-12-31T23:00",),
        "60 MB": ("x" * 60_000_000,),
    }
    headers: dict[str, Any] = {
        "task a list": {"task": ["a"]},
        "task an object": {"task": {}},
        "task null": {"task": None},
        "task unknown": {"task": "babylon.no_such_task.v1"},
        "task of celery": {"task": "celery.chord_unlock"},
        "task of another queue": {"task": "babylon.train_window.v1"},
        "id a list": {"id": ["x"]},
        "id null": {"id": None},
        "id with a line": {"id": "a\nb"},
        "id long": {"id": "a" * 5000},
        "sent_at a text": {"babylon_sent_at": "yesterday"},
    }
    envelopes: dict[str, Any] = {
        "list": [],
        "number": 5,
        "null": None,
        "true": True,
        "text": "x",
        "empty object": {},
        "headers a list": envelope() | {"headers": []},
        "headers null": envelope() | {"headers": None},
        "headers a text": envelope() | {"headers": "task"},
        "properties a list": envelope() | {"properties": []},
        "properties null": envelope() | {"properties": None},
        "body an object": envelope(body={"x": 1}),
        "body null": envelope(body=None),
        "body a number": envelope(body=1),
        "body not base64": envelope(body="%%%"),
        "body_encoding unknown": envelope(properties={"body_encoding": "rot13"}),
        "body_encoding a list": envelope(properties={"body_encoding": []}),
        "content-type pickle": envelope(**{"content-type": "application/x-python-serialize"}),
        "content-type yaml": envelope(**{"content-type": "application/x-yaml"}),
        "content-type a list": envelope(**{"content-type": []}),
        "content-encoding unknown": envelope(**{"content-encoding": "no-such"}),
        "compressed": envelope(headers={"compression": "application/x-gzip"}, body=encoded("xx")),
        "protocol 1": {"task": "babylon.score_window.v1", "id": "1", "args": [WINDOW]},
        "no body": _without("body"),
        "no headers": _without("headers"),
        "no properties": _without("properties"),
    }
    return {
        "not JSON": b"no json",
        "empty": b"",
        "raw bytes": bytes(range(256)),
        "half": raw(envelope())[:200],
        "two": raw(envelope()) * 2,
        "deep": deep.encode(),
        "deep property": raw(envelope()).replace(b'"priority": 0', b'"x": ' + deep.encode()),
        "UTF-16": raw(envelope()).decode().encode("utf-16"),
        **{f"envelope: {name}": raw(message) for name, message in envelopes.items()},
        **{f"header: {name}": raw(envelope(headers=change)) for name, change in headers.items()},
        **{f"body: {name}": raw(envelope(body=encoded(body))) for name, body in bodies.items()},
        **{f"argument: {name}": raw(envelope(args=args)) for name, args in arguments.items()},
        "argument: by another name": raw(envelope(args=(), kwargs={"path": "x"})),
        "argument: twice": raw(envelope(kwargs={"window": WINDOW})),
    }


@cache
def overloaded() -> dict[str, bytes]:
    """Good messages with orders attached that nobody may give: the orders are not followed."""
    chain = [{"task": "babylon.no_such_task.v1", "args": [], "kwargs": {}, "options": {}}]
    orders: dict[str, dict[str, Any]] = {
        "timelimit tiny": {"timelimit": [0.001, 0.001]},
        "timelimit a text": {"timelimit": "abc"},
        "timelimit texts": {"timelimit": ["a", "b"]},
        "eta far": {"eta": "2099-01-01T00:00:00+00:00"},
        "eta garbage": {"eta": "then"},
        "eta a list": {"eta": [1]},
        "expired": {"expires": "2001-01-01T00:00:00+00:00"},
        "expires garbage": {"expires": {"x": 1}},
        "retries": {"retries": 1_000_000},
        "shadow": {"shadow": ["x"]},
        "argsrepr": {"argsrepr": 7, "kwargsrepr": ["x" * 2000]},
        "group": {"group": "g", "group_index": "x"},
        "stamps": {"stamped_headers": ["a"], "stamps": {"a": {}}},
        "delivery": {"delivery_info": "x", "hostname": 5, "is_eager": True},
        "root": {"root_id": ["x"], "parent_id": {}},
        "lang": {"lang": "c"},
    }
    embedded: dict[str, Any] = {
        "chain": {"chain": chain},
        "chain garbage": {"chain": 5},
        "callbacks": {"callbacks": chain, "errbacks": chain},
        "chord": {"chord": chain[0]},
    }
    replies = {"reply_to": "somewhere", "correlation_id": ["x"], "delivery_info": 5}
    return {
        **{f"order: {name}": raw(envelope(headers=given)) for name, given in orders.items()},
        **{f"order: {name}": raw(envelope(embed=given)) for name, given in embedded.items()},
        "order: embedded a list": raw(envelope(embed=[1])),
        "order: properties": raw(envelope(properties=replies)),
        "order: delivery_tag a list": raw(envelope(properties={"delivery_tag": []})),
        "order: priority a text": raw(envelope(properties={"priority": "high"})),
    }
