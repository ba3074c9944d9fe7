"""The lineages that a database has work for: the settings' own, and others that are at work."""

from __future__ import annotations

import structlog

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


def live_lineages(settings: Settings) -> list[str]:
    """List the settings' lineage and the other live ones; the first alone if Postgres is away."""
    try:
        with session(settings) as connection:
            others = other_lineages(connection, settings)
    except BabylonTasksError as error:  # messages are hints: beat sends what is not sent now
        log.warning("lineages.not_listed", why=str(error))
        others = {}
    return [settings.lineage, *others]


def other_lineages(connection: Connection, settings: Settings) -> dict[str, Settings]:
    """Map the other live lineages to these settings for each of them."""
    return {
        name: settings.model_copy(update={"lineage": name})
        for name in lineages.live(connection)
        if name != settings.lineage
    }
