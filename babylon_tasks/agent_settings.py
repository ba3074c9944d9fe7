"""What a process of agents needs to know: few settings, so no bad server setting can break it.

Agents read their environment and BABYLON_SECRETS_DIR. A file `.env` in an agent's working
directory belongs to the agent and is not read.
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_LINEAGE = "babylon"
DEFAULT_KEY = "default"
_PRISMA_PARAMETERS = {
    "schema",
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "statement_cache_size",
    "socket_timeout",
    "sslaccept",
    "sslidentity",
}
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")


class DatabaseSettings(BaseSettings):
    """The database: all that the recorder and a connection need."""

    model_config = SettingsConfigDict(
        env_prefix="BABYLON_",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # the input contains secrets
    )

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.database_url.get_secret_value().startswith(("postgres://", "postgresql://")):
            raise ValueError("DATABASE_URL must begin with postgresql://")
        # First of all: a password split by a special character would be taken for an address.
        require_readable("DATABASE_URL", self.database_url)
        if not re.fullmatch(r"\w+", self.database_schema):
            raise ValueError("the schema in DATABASE_URL is not a plain name")
        return self

    @property
    def dsn(self) -> str:
        """The Postgres connection string, password included: never log it.

        Babylon's own DATABASE_URL is written for Prisma, whose parameters libpq rejects.
        """
        parts = urlsplit(self.database_url.get_secret_value())
        kept = [pair for pair in parse_qsl(parts.query) if pair[0] not in _PRISMA_PARAMETERS]
        return urlunsplit(parts._replace(query=urlencode(kept, quote_via=quote)))

    @property
    def database_schema(self) -> str:
        """The schema that holds Babylon's tables: Prisma's ``?schema=``, else ``public``."""
        query = dict(parse_qsl(urlsplit(self.database_url.get_secret_value()).query))
        return query.get("schema", "public")


class AgentSettings(DatabaseSettings):
    """The lineage that an agent asks, and its key; the names are those of ``Settings``."""

    lineage: str = DEFAULT_LINEAGE
    inference_api_key: SecretStr = SecretStr(DEFAULT_KEY)
    wandb_api_key: SecretStr | None = Field(default=None, validation_alias="WANDB_API_KEY")


def require_readable(name: str, url: SecretStr) -> SplitResult:
    """Split a server's URL; raises ValueError, quoting none of it, where it is unusable."""
    try:
        parts = urlsplit(url.get_secret_value())
        login, at, hosts = parts.netloc.rpartition("@")
        readable = (
            all(_HOST.fullmatch(host) for host in hosts.split(","))  # libpq accepts several
            and "@" not in parts.path + parts.fragment
            and (bool(at) or "@" not in parts.query)
            and not re.search(r"%(?![0-9A-Fa-f]{2})", login)
        )
    except ValueError:
        readable = False
    if not readable:
        # Messages of the standard library or libpq would quote a part of the password.
        raise ValueError(
            f"{name} cannot be read: the port must be a number, and in user and password "
            "the characters : / ? # [ ] @ % are written percent-encoded"
        ) from None
    return parts
