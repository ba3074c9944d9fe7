"""What a client gets where a checkpoint's server refused its request, or gave no answer."""

from __future__ import annotations

from typing import Any

import msgspec

from babylon_tasks.gateway.away import Away, AwayReason, away_by
from babylon_tasks.gateway.routes import ToCheckpoint
from babylon_tasks.gateway.servers import ServerAnswer
from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS
from babylon_tasks.http_server.refusals import Refused

RETRY = {"retry-after": str(RETRY_AFTER_SECONDS)}


def refusal_of(route: ToCheckpoint, answer: ServerAnswer) -> Refused:
    """Keep a server's own error, in OpenAI's shape whatever the server's is."""
    away = away_by(answer.status)
    if away is not None and route.committed:
        return unanswered(route, away)
    try:
        given = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.MsgspecError:
        given = {}
    error = given.get("error", given)
    if not isinstance(error, dict):
        error = {"message": str(error)}
    retry = {name: value for name, value in answer.headers.items() if name.startswith("retry-")}
    code, param = error.get("code"), error.get("param")
    return Refused(
        answer.status,
        str(error.get("message") or f"the checkpoint's server answered {answer.status}"),
        code=code if isinstance(code, str) else None,
        param=param if isinstance(param, str) else None,
        headers=retry,
    )


def unanswered(route: ToCheckpoint, away: Away) -> Refused:
    """Say that there is no answer, why, and whether to try again."""
    if away.reason is AwayReason.BUSY:
        return Refused(
            429,
            f"the server of {route.name} is overloaded; try again later",
            code="rate_limit_exceeded",
            headers=RETRY,
        )
    if away.reason is AwayReason.NO_MODEL and route.committed:
        # Clients take 404 for the end, and ask again after this.
        return Refused(
            503,
            f"the checkpoints' server does not have {route.name} yet; try again later",
            headers=RETRY,
        )
    if away.reason is AwayReason.NO_MODEL:
        return Refused(
            404,
            f"the checkpoints' server has no {route.name}; GET /v1/models lists the models",
            code="model_not_found",
            param="model",
        )
    if away.reason is AwayReason.MALFORMED:
        return Refused(502, f"the server of {route.name} did not send a chat completion")
    return Refused(
        503,
        f"{route.name} gave no answer ({away.reason}), and BABYLON_GATEWAY_FALLBACK names nothing "
        "that may answer instead; try again later",
        headers=RETRY,
    )
