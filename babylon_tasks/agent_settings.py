"""What a process of agents needs to know: few settings, so no bad server setting can break it.

Agents read their environment, BABYLON_SECRETS_DIR and BABYLON_ENV_FILE. A file `.env` in an agent's
working directory belongs to the agent and is not read.
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import parse_qsl, quote, urlencode

from pydantic import Field, SecretStr, model_validator

from babylon_tasks.postgres_parameters import for_libpq
from babylon_tasks.read_settings import EnvironmentSettings
from babylon_tasks.server_url import PostgresUrl

DEFAULT_LINEAGE = "babylon"
DEFAULT_KEY = "default"
# Shorter secrets would not be masked in logs: they are too common as words.
LEAST_SECRET = 8
# Agents' key guards the policy on the network, so nobody may guess it: 16 random letters and digits
# are 95 bits.
LEAST_INFERENCE_KEY = 16


class DatabaseSettings(EnvironmentSettings):
    """The database: all that the recorder and a connection need."""

    database_url: PostgresUrl = Field(validation_alias="DATABASE_URL")
    database_timeout_seconds: float = Field(default=60, gt=0)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not re.fullmatch(r"\w+", self.database_schema):
            raise ValueError("the schema in DATABASE_URL is not a plain name")
        if self._parameter("pgbouncer") not in (None, "true", "false"):
            raise ValueError("pgbouncer in DATABASE_URL is neither true nor false")
        if not re.fullmatch(r"\d{1,9}", self._parameter("statement_cache_size") or "0"):
            raise ValueError("statement_cache_size in DATABASE_URL is not a number")
        return self

    @property
    def dsn(self) -> str:
        """The Postgres connection string, password included: never log it.

        Babylon's own DATABASE_URL is written for Prisma, whose parameters libpq rejects.
        """
        address, _, query = self.database_url.get_secret_value().partition("?")
        kept = for_libpq(query)
        return f"{address}?{urlencode(kept, quote_via=quote)}" if kept else address

    @property
    def database_schema(self) -> str:
        """The schema of Babylon's tables: Prisma's ``?schema=``, else ``public``."""
        return self._parameter("schema") or "public"

    @property
    def pooled(self) -> bool:
        """Whether a transaction pooler is in between: Prisma's ``?pgbouncer=true``."""
        return self._parameter("pgbouncer") == "true"

    @property
    def prepared_statements(self) -> int | None:
        """The most that a connection keeps: Prisma's ``?statement_cache_size=``, else None."""
        size = self._parameter("statement_cache_size")
        return None if size is None else int(size)

    def _parameter(self, name: str) -> str | None:
        return dict(parse_qsl(self.database_url.get_secret_value().partition("?")[2])).get(name)


class AgentSettings(DatabaseSettings):
    """The lineage that an agent asks, and its key; the names are those of ``Settings``."""

    lineage: str = DEFAULT_LINEAGE
    inference_api_key: SecretStr = SecretStr(DEFAULT_KEY)
    wandb_api_key: SecretStr | None = Field(default=None, validation_alias="WANDB_API_KEY")

    @model_validator(mode="after")
    def _named_and_keyed(self) -> Self:
        require_plain_name("BABYLON_LINEAGE", self.lineage)
        require_inference_key(self.inference_api_key)
        require_key("WANDB_API_KEY", self.wandb_api_key)
        return self


def require_plain_name(name: str, value: str | None) -> None:
    """Raise ValueError unless a name can be part of a path, a URL and LINEAGE@STEP."""
    if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError(
            f"{name} must be a plain name, of letters, digits and . _ - only, at most 100 and "
            "beginning with a letter or digit: it names folders and checkpoints"
        )


def require_inference_key(key: SecretStr) -> None:
    """Raise ValueError for a key that could be guessed; loopback may have the default one."""
    if key.get_secret_value() != DEFAULT_KEY:
        remedy = "`make secrets` makes one, and so does `openssl rand -hex 24`"
        require_key("BABYLON_INFERENCE_API_KEY", key, LEAST_INFERENCE_KEY, remedy)


def require_key(
    name: str,
    key: SecretStr | None,
    least: int = LEAST_SECRET,
    remedy: str = "a server without keys needs none: leave it unset",
) -> None:
    """Raise ValueError unless a key is long enough and can be sent in a header."""
    if key is not None and not re.fullmatch(rf"[!-~]{{{least},}}", key.get_secret_value()):
        raise ValueError(
            f"{name} must be {least} or more ASCII characters without white space; {remedy}"
        )
