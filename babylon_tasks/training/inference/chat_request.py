"""What a chat completion request may contain: honoured, without effect here, or refused by name.

Nothing that would change the answer is ignored: a client that asks for JSON and gets prose would
learn of it late.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from babylon_tasks.http_server.refusals import Refused, unusable_json
from babylon_tasks.training.inference.limits import (
    ANSWER_TOKENS,
    ANSWERS,
    MESSAGES,
    STOP_CHARACTERS,
    STOPS,
)

# Fields that change what is kept, cached or billed, but not the answer.
WITHOUT_EFFECT = {
    "metadata",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "user",
}
# Fields that are not honoured: accepted with the value that means the same as their absence.
ONLY: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "min_p": (0,),
    "modalities": (["text"],),
    "moderation": (),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "stream": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_k": (0, -1),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
_IN_MESSAGES = ("role", "content", "name")  # ``name``: no template here shows it
_AT = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`\Z")
_FIELD = re.compile(r"field `(.*)`\Z")
_EMPTY = (b"null", b'""', b"[]", b"{}")
Stop = Annotated[str, Meta(max_length=STOP_CHARACTERS)]


class ContentPart(Struct, frozen=True):
    """One part of a message's content; only ``text`` is accepted."""

    type: str
    text: str | None = None


class ChatMessage(Struct, frozen=True):
    """One message of the prompt, as text."""

    role: str
    content: str | list[ContentPart] | None = None

    @property
    def text(self) -> str:
        """The content; parts are joined as the recorder joins them (``recorder/completion.py``)."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class ChatRequest(Struct, frozen=True):
    """The part of OpenAI's request that is honoured.

    By default an answer carries its token ids as ART's servers send them: as ``token_ids`` of the
    choice, and as ``token_id:N`` in place of a token's text. With ``return_token_ids`` the prompt's
    are added, as in vLLM.
    """

    model: Annotated[str, Meta(max_length=256)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MESSAGES)]
    n: Annotated[int, Meta(ge=1, le=ANSWERS)] = 1
    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    max_tokens: Annotated[int, Meta(ge=1, le=ANSWER_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=ANSWER_TOKENS)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=STOPS)] = ""
    seed: int | None = None
    logprobs: bool = False
    return_tokens_as_token_ids: bool = True
    return_token_ids: bool | None = None
    chat_template_kwargs: dict[Literal["enable_thinking"], bool] = {}

    @property
    def limit(self) -> int:
        """The most tokens of an answer."""
        return self.max_completion_tokens or self.max_tokens or 128

    @property
    def stops(self) -> Sequence[str]:
        """The strings that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop


class _Shape(Struct, frozen=True):
    messages: Annotated[list[dict[str, Raw]], Meta(max_length=MESSAGES)] = []


def read_request(body: bytes) -> ChatRequest:
    """Read a request's JSON; raises Refused that names the first field that cannot be honoured."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Raw])
        given = {name: value for name, value in fields.items() if bytes(value) != b"null"}
        for name, value in given.items():
            _check(name, value)
        honoured = {name: given[name] for name in given if name in ChatRequest.__struct_fields__}
        kept = msgspec.json.encode(honoured)
        for place, fields_of_one in enumerate(msgspec.json.decode(kept, type=_Shape).messages):
            _check_message(place, fields_of_one)
        request = msgspec.json.decode(kept, type=ChatRequest)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unusable_json(body, error) from None
    for place, message in enumerate(request.messages):
        _check_parts(place, message)
    return request


def _check(name: str, value: Raw) -> None:
    if name in ChatRequest.__struct_fields__ or name in WITHOUT_EFFECT:
        return
    if name not in ONLY:
        raise Refused(
            400,
            f"unknown field {name[:64]!r}; nothing that could change the answer is ignored here",
            code="unknown_parameter",
            param=name[:64],
        )
    if msgspec.json.decode(value) not in ONLY[name]:
        raise Refused(
            400,
            f"{name} is not supported here, and not ignored: leave it out; "
            "docs/inference.md lists what is",
            code="unsupported_parameter",
            param=name,
        )


def _check_message(place: int, message: dict[str, Raw]) -> None:
    for name, value in message.items():
        # Clients send an answer back with all its empty fields.
        if name not in _IN_MESSAGES and bytes(value) not in _EMPTY:
            field = f"messages[{place}].{name[:64]}"
            raise Refused(
                400,
                f"{field} is not supported here: messages are role and text",
                code="unsupported_parameter",
                param=field,
            )


def _check_parts(place: int, message: ChatMessage) -> None:
    parts = message.content if isinstance(message.content, list) else []
    for number, part in enumerate(parts):
        if part.type != "text" or part.text is None:
            field = f"messages[{place}].content[{number}]"
            raise Refused(
                400,
                f"{field} is {part.type[:64]!r}: only parts of type 'text' are supported",
                code="unsupported_parameter",
                param=field,
            )


def _invalid(message: str) -> Refused:
    """Make OpenAI's error of msgspec's "Expected `int` <= 64 - at `$.n`"."""
    at = _AT.search(message)
    field = at or _FIELD.search(message)
    text = message if at is None else f"{at[1] or 'the body'}: {message[: at.start()]}"
    return Refused(400, text, code="invalid_value", param=field[1] if field else None)
