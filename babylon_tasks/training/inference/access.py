"""Who may ask the trainer's endpoints: whoever sends the key."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from babylon_tasks.http_server.bearer import sent_key
from babylon_tasks.http_server.refusals import Refused


def check_key(headers: Mapping[bytes, bytes], api_key: bytes) -> None:
    """Raise Refused unless the request has the key."""
    given = sent_key(headers.get(b"authorization", b""))
    if not hmac.compare_digest(given, api_key):
        raise Refused(
            401,
            "wrong API key; it is BABYLON_INFERENCE_API_KEY",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
