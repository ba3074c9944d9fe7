"""Which agent asks, and how that is known."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from urllib.parse import unquote

from msgspec import Struct

from babylon_tasks.http_server.refusals import Refused

HEADER = b"x-babylon-agent"
_LONGEST = 200


class AgentSource(StrEnum):
    """Where an agent's id was found; the first that is given counts."""

    HEADER = "header"  # X-Babylon-Agent
    PATH = "path"  # /a/AGENT/v1
    KEY = "key"  # KEY:AGENT
    USER = "user"  # OpenAI's field
    SYSTEM_PROMPT = "system_prompt"  # BABYLON_GATEWAY_AGENT_PATTERN
    NONE = "none"


class Asker(Struct, frozen=True):
    """An agent's id and its source; no id where nothing names one."""

    agent: str | None
    source: AgentSource


def asker(
    *,
    header: bytes | None,
    path: str | None,
    key: str | None,
    user: str | None,
    in_prompt: Callable[[], str | None],
) -> Asker:
    """Choose the agent's id; raises Refused for an explicitly given id that is invalid.

    OpenAI's ``user`` may be anything, and so may what a pattern finds in the system prompt, which
    is searched last: an invalid id is ignored there.
    """
    given = (
        (AgentSource.HEADER, header.decode("latin-1") if header else None),
        (AgentSource.PATH, unquote(path) if path else None),
        (AgentSource.KEY, key),
    )
    for source, agent in given:
        if agent:
            if not _is_id(agent):
                raise Refused(
                    400,
                    f"the agent's id in the {source} must be printable text of at most {_LONGEST} "
                    "characters",
                    code="invalid_value",
                    param="X-Babylon-Agent" if source is AgentSource.HEADER else None,
                )
            return Asker(agent, source)
    if user and _is_id(user):
        return Asker(user, AgentSource.USER)
    found = in_prompt()
    if found and _is_id(found):
        return Asker(found, AgentSource.SYSTEM_PROMPT)
    return Asker(None, AgentSource.NONE)


def _is_id(text: str) -> bool:
    return len(text) <= _LONGEST and text.isprintable()
