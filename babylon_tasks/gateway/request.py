"""A client's request: its fields as they came, of which only the gateway's own are read."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Raw

from babylon_tasks.http_server.refusals import Refused, unusable_json
from babylon_tasks.recorder.completion import read_messages

_LONGEST_MODEL = 256
# Log-probabilities and token ids; Groq answers 400 to the first two.
_EXACT = frozenset(
    ("logprobs", "top_logprobs", "return_token_ids", "return_tokens_as_token_ids", "nvext")
)


class GatewayRequest:
    """The fields of a body; raises Refused if it is no JSON object that names a model."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        try:
            self.fields: dict[str, Raw] = msgspec.json.decode(raw, type=dict[str, Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise unusable_json(raw, error) from None
        model = self.value("model")
        if not isinstance(model, str) or not 0 < len(model) <= _LONGEST_MODEL:
            raise Refused(
                400,
                f"model must be a name of at most {_LONGEST_MODEL} characters",
                code="invalid_value",
                param="model",
            )
        self.model = model

    def value(self, name: str) -> Any:
        """Read one field; None where it is missing."""
        try:
            return msgspec.json.decode(self.fields.get(name, b"null"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Refused(
                400, f"{name} is not usable JSON", code="invalid_json", param=name
            ) from None

    def given(self, name: str) -> bool:
        """Check whether a field has another value than null."""
        return bytes(self.fields.get(name, b"null")).strip() != b"null"

    @property
    def user(self) -> str | None:
        """OpenAI's field ``user``, where it is text."""
        user = self.value("user")
        return user if isinstance(user, str) else None

    @property
    def system_prompt(self) -> str:
        """The text of the first message if it is a system prompt that can be read; else empty."""
        try:
            messages = msgspec.json.decode(self.fields["messages"], type=list[Raw])
            (first,) = read_messages([msgspec.json.decode(messages[0])])
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError, RecursionError):
            return ""  # whoever reads all of them reports it
        return first["content"] if first["role"] == "system" else ""

    @cached_property
    def stream(self) -> bool:
        """Whether the answer is to come as a stream."""
        return self.value("stream") is True

    @property
    def wants_usage(self) -> bool:
        """Whether the stream is to end with the usage."""
        options = self.value("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def changed(self, **values: float) -> GatewayRequest:
        """Ask the same with other values of some fields; ``raw`` stays as it came."""
        made = copy.copy(self)
        made.fields = {
            **self.fields,
            **{name: Raw(msgspec.json.encode(value)) for name, value in values.items()},
        }
        return made

    def for_another(self, model: str) -> bytes:
        """Write the body for a model that the agent did not name, everything else as it came.

        Without what only an exact record of a checkpoint's answer needs: other providers refuse it.
        """
        kept = {name: value for name, value in self.fields.items() if name not in _EXACT}
        return msgspec.json.encode({**kept, "model": model})
