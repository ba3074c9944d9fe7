"""Ask the trainer's own inference whether it answers, and whether it has what is to serve."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote

from babylon_tasks.db.promotions import ServingRow
from babylon_tasks.probe import own
from babylon_tasks.settings import Settings

_SECONDS = 2.0
_MOST_BYTES = 1_000_000


def cannot_be_asked(settings: Settings, port: int) -> str | None:
    """Say why agents on this machine would get no answer; None if its health is good."""
    status, body = _get(settings, port, "/health")
    # An endpoint that has no such path, as W&B's or a later ART's may, answers all the same.
    return None if 0 < status < 500 else f"the trainer's inference does not answer: {body}"


def lacks_model(settings: Settings, port: int, serving: ServingRow) -> str | None:
    """Say why the checkpoint that serves by the database cannot be asked; None if it can.

    Ours (backends cpu and local) looks at the checkpoint's files.
    """
    name = serving.inference_name
    status, body = _get(settings, port, f"/v1/models/{quote(name, safe='')}")
    return None if status == 200 else f"the trainer cannot serve {name}: {_message(body)}"


def _message(body: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200]


def _get(settings: Settings, port: int, path: str) -> tuple[int, str]:
    """Return status and text; 0 and what went wrong where there is no answer."""
    key = settings.inference_api_key.get_secret_value()
    connection = HTTPConnection(own(settings.inference_host), port, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES).decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()
