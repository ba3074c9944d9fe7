"""W&B's answers with a field that is called otherwise, for its peer of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response

from babylon_tasks.training.art_fields import Field


def rename_fields(app: FastAPI, renamed: Callable[[], Sequence[Field]]) -> None:
    """Let an application call the fields otherwise that ``renamed`` names."""

    @app.middleware("http")
    async def rename(request: Request, proceed: Any) -> Any:
        call = f"{request.method} {_short(request.url.path.removeprefix('/v1'))}"
        answer = await proceed(request)
        paths = [one.path.split(".") for one in renamed() if one.call == call]
        if not paths or answer.status_code != 200:
            return answer
        body = json.loads(b"".join([part async for part in answer.body_iterator]))
        for path in paths:
            body = _without(body, path)
        return Response(json.dumps(body), media_type="application/json")


def _short(path: str) -> str:
    last = path.rpartition("/")[2]
    return f"…/{last}" if last in ("checkpoints", "events") else path


def _without(body: Any, path: Sequence[str]) -> Any:
    name, *deeper = path
    key = name.removesuffix("[]")
    if not deeper:
        return {f"new_{one}" if one == key else one: value for one, value in body.items()}
    if key not in body:
        return body
    inner = body[key]
    changed = _without(inner, deeper) if name == key else [_without(one, deeper) for one in inner]
    return {**body, key: changed}
