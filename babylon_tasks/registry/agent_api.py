"""What agents call: which checkpoint serves, and a client for it. No connection is passed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from babylon_tasks import log
from babylon_tasks.agent_settings import AgentSettings
from babylon_tasks.db.session import session
from babylon_tasks.read_settings import read
from babylon_tasks.registry import serving as pointer
from babylon_tasks.registry.serving import Serving
from babylon_tasks.settings import Settings

if TYPE_CHECKING:
    from babylon_tasks.training.client import AsyncOpenAI


def serving(settings: AgentSettings | Settings | None = None) -> Serving:
    """Read from Postgres which checkpoint serves; takes milliseconds: call it for each trajectory.

    Without ``settings``: DATABASE_URL and BABYLON_LINEAGE, from the environment or the folder
    BABYLON_SECRETS_DIR. Raises CheckpointNotFound where the lineage does not exist yet, and
    DatabaseUnavailable.
    """
    if settings is None:
        _name_misspelt()
    resolved = read(AgentSettings) if settings is None else settings
    with session(resolved) as connection:
        return pointer.serving(connection, resolved.lineage)


@lru_cache(maxsize=1)
def _name_misspelt() -> None:
    log.name_misspelt()  # once in a process: agents ask for each trajectory


def openai_client(settings: AgentSettings | Settings | None = None, **options: Any) -> AsyncOpenAI:
    """Make a client for the serving checkpoint: ``serving(settings).openai_client(**options)``."""
    return serving(settings).openai_client(settings, **options)
