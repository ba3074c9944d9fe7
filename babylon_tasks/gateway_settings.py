"""The settings of the gateway: where it listens, whose keys it takes, and what else it asks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from babylon_tasks.agent_settings import DEFAULT_KEY, LEAST_INFERENCE_KEY, LEAST_SECRET
from babylon_tasks.process_settings import LOOPBACK, ListenHost, ProcessSettings
from babylon_tasks.reward_settings import parsed
from babylon_tasks.server_url import require_address

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class UpstreamSettings(BaseModel):
    """Another OpenAI-compatible server; a model's name may end with ``*``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str
    models: tuple[str, ...] = Field(min_length=1)


PromptIds = Literal["auto", "always", "never"]
Upstreams = Annotated[dict[str, UpstreamSettings], NoDecode, BeforeValidator(parsed)]


class GatewaySettings(ProcessSettings):
    """The address that agents ask: a part of ``Settings``."""

    # gateway
    gateway_host: ListenHost = "127.0.0.1"
    """The address on which the gateway answers agents; any but loopback needs keys."""
    gateway_port: int = Field(default=8200, ge=0, le=65535)
    """The gateway's port. 0: any free one."""
    gateway_keys: SecretStr | None = None
    """The keys of its clients, as `CLIENT:KEY`, separated by commas, each key of 16 or more ASCII
    characters without `:`. A client may have several. As a file of `BABYLON_SECRETS_DIR` it may
    change at any time. Without it: `BABYLON_INFERENCE_API_KEY`."""
    gateway_agent_pattern: str | None = None
    """A regular expression of RE2 that finds an agent's id in the first 4,096 characters of its
    system prompt, as its group `agent`: `Your id is (?P<agent>[a-z0-9-]+)`. It counts where nothing
    else names the agent."""
    gateway_upstreams: Upstreams = Field(default={})
    """Other servers that answer behind the same address, as JSON: `{"groq": {"base_url":
    "https://api.groq.com/openai/v1", "models": ["qwen/*"]}}`. A model goes to the first server
    that lists its name."""
    gateway_upstream_keys: SecretStr | None = None
    """The keys of these servers, as `SERVER:KEY`, separated by commas. As a file of
    `BABYLON_SECRETS_DIR` it may change at any time."""
    gateway_fallback: str | None = None
    """What answers instead of the lineage while its trainer cannot: `SERVER/MODEL`, as in
    `groq/qwen/qwen3-32b`. Its answers are labelled."""
    gateway_temperature: float | None = Field(default=None, gt=0, le=2)
    """The temperature at which checkpoints are asked, whatever the agent asks for: only calls at 1
    are labelled `exact`. Requests for log-probabilities, and those to other servers, keep their
    own; without the setting all do."""
    gateway_prompt_ids: PromptIds = "auto"
    """Of which captured calls the token ids of the prompt are kept, where the server reports them:
    `auto` where backend `serverless` answers, whose newer ART trains on no answer without them,
    `always` or `never`. They take five bytes for each token of the prompt."""
    gateway_max_requests: int = Field(default=256, ge=1)
    """The most requests at once. Further ones get 429, and OpenAI's clients try again."""
    gateway_timeout_seconds: float = Field(default=120, gt=0)
    """The most time for one answer."""
    gateway_trainer_seconds: float = Field(default=15, gt=0)
    """With a fallback: the most time that the trainer gets for an answer before the fallback is
    asked, and never more than half of `BABYLON_GATEWAY_TIMEOUT_SECONDS`. Set it to more than its
    long answers take and less than agents wait: Babylon's clients give up after 20 s where an
    answer may have fewer than 500 tokens, otherwise after 60."""
    gateway_spool_dir: Path = Path(".babylon/calls")
    """Where captured calls wait for Postgres. Several gateways may share the folder: each takes
    over what a dead one has left there."""
    gateway_spool_bytes: int = Field(default=2 * 2**30, ge=2**20)
    """The most bytes that one gateway's captured calls may take there. Then the newest are lost and
    counted; a call takes some kilobytes."""

    @model_validator(mode="after")
    def _gateway(self) -> Self:
        for name, server in self.gateway_upstreams.items():
            if not _NAME.fullmatch(name):
                raise ValueError(
                    "a server of BABYLON_GATEWAY_UPSTREAMS has no plain name, of letters, digits "
                    "and . _ - only"
                )
            require_address(
                f"base_url of {name} in BABYLON_GATEWAY_UPSTREAMS",
                server.base_url,
                "https://api.groq.com/openai/v1",
            )
        client_keys(self.gateway_keys)
        if self.gateway_agent_pattern is not None:
            require_agent_group(self.gateway_agent_pattern)
        for name in upstream_keys(self.gateway_upstream_keys):
            if name not in self.gateway_upstreams:
                raise ValueError(
                    "BABYLON_GATEWAY_UPSTREAM_KEYS has a key for a server that "
                    "BABYLON_GATEWAY_UPSTREAMS does not name"
                )
        server_name, _, model = (self.gateway_fallback or "").partition("/")
        if self.gateway_fallback is not None and (
            server_name not in self.gateway_upstreams or not model
        ):
            raise ValueError(
                "BABYLON_GATEWAY_FALLBACK must be SERVER/MODEL, and SERVER one of "
                "BABYLON_GATEWAY_UPSTREAMS"
            )
        if (
            self.gateway_host not in LOOPBACK
            and self.gateway_keys is None
            and self.inference_api_key.get_secret_value() == DEFAULT_KEY
        ):
            raise ValueError(
                "BABYLON_GATEWAY_HOST admits other machines: set BABYLON_GATEWAY_KEYS, or "
                "BABYLON_INFERENCE_API_KEY"
            )
        return self


def server_of(servers: Mapping[str, UpstreamSettings], model: str) -> str | None:
    """Find the first server that lists a model."""
    return next(
        (name for name, one in servers.items() if any(_matches(m, model) for m in one.models)), None
    )


def require_agent_group(pattern: str) -> None:
    """Raise ValueError for anything but a regular expression with a group ``agent``.

    RE2 itself, which is installed with the gateway, refuses some more.
    """
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(
            f"BABYLON_GATEWAY_AGENT_PATTERN is not a regular expression: {error}"
        ) from None
    if list(groups) != ["agent"]:
        raise ValueError(
            "BABYLON_GATEWAY_AGENT_PATTERN needs one named group, (?P<agent>...): what it matches "
            "is the agent's id"
        )


def client_keys(setting: SecretStr | None) -> list[tuple[str, str]]:
    """Split BABYLON_GATEWAY_KEYS; raises ValueError without a part of it."""
    found = list(_pairs("BABYLON_GATEWAY_KEYS", setting))
    if any(len(key) < LEAST_INFERENCE_KEY or ":" in key for _, key in found):
        raise ValueError(
            f"each key of BABYLON_GATEWAY_KEYS must be {LEAST_INFERENCE_KEY} or more ASCII "
            "characters without white space, comma and colon; `openssl rand -hex 24` makes one"
        )
    return found


def upstream_keys(setting: SecretStr | None) -> dict[str, str]:
    """Split BABYLON_GATEWAY_UPSTREAM_KEYS by server; raises ValueError without a part of it."""
    return dict(_pairs("BABYLON_GATEWAY_UPSTREAM_KEYS", setting))


def _matches(pattern: str, model: str) -> bool:
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern


def _pairs(setting: str, secret: SecretStr | None) -> Iterator[tuple[str, str]]:
    if secret is None:
        return
    for one in secret.get_secret_value().split(","):
        name, _, key = one.strip().partition(":")
        if not _NAME.fullmatch(name) or not re.fullmatch(rf"[!-~]{{{LEAST_SECRET},}}", key):
            raise ValueError(
                f"{setting} must be NAME:KEY, several separated by commas, each key of "
                f"{LEAST_SECRET} or more ASCII characters without white space"
            )
        yield name, key
