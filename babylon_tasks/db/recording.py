"""Write finished trajectories, many in one transaction; safe to repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg
import structlog

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db import babylon
from babylon_tasks.db.session import Connection, address, connect
from babylon_tasks.db.sql import fetch_value, statement
from babylon_tasks.errors import DatabaseError, DatabaseUnavailable

log = structlog.get_logger(__name__)


class TrajectoryWriter:
    """Writes over one connection, opened when first needed and reopened after it was lost."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._logs_calls = True
        self._insert = "recording.insert_trajectory"

    def write(
        self, trajectories: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write trajectories with their calls, or nothing.

        Raises DatabaseUnavailable where trying again makes sense, DatabaseError where a row itself
        is refused.
        """
        try:
            connection = self._connection or self._connected()
            with _pipeline(connection), connection.transaction(), connection.cursor() as cursor:
                # executemany would prepare them, which a pooler in between loses.
                for trajectory in trajectories:
                    cursor.execute(statement(self._insert), trajectory, prepare=False)
                for call in calls if self._logs_calls else ():
                    cursor.execute(statement("recording.insert_call"), call, prepare=False)
        except psycopg.errors.ProgramLimitExceeded as error:
            # An id that fits into no index: psycopg's kind for it is that of a server that is away.
            raise self._refused(trajectories, error) from error
        except (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.errors.ReadOnlySqlTransaction,  # a standby during a failover
            # A pooler in between, against what DATABASE_URL says; a new connection prepares none.
            psycopg.errors.InvalidSqlStatementName,
            psycopg.errors.DuplicatePreparedStatement,
        ) as error:
            self.close()
            raise DatabaseUnavailable(
                f"{_named(trajectories)} could not be written to "
                f"{address(self._settings)}: {type(error).__name__}; it will be tried again"
            ) from error
        except psycopg.Error as error:
            raise self._refused(trajectories, error) from error

    def _refused(
        self, trajectories: Sequence[Mapping[str, Any]], error: psycopg.Error
    ) -> DatabaseError:
        return DatabaseError(
            f"{_named(trajectories)} was refused by "
            f"{address(self._settings)}: {str(error).strip().splitlines()[0]}; it is lost; "
            "check the recorder's database against the migrations"
        )

    def _connected(self) -> Connection:
        self._connection = connection = connect(self._settings, patience=0)
        logs_calls = not babylon.missing(connection, "llm_call_logs")
        if self._logs_calls and not logs_calls:
            log.warning(
                "recorder.calls_omitted",
                why=f"{address(self._settings)} has no table llm_call_logs",
            )
        self._logs_calls = logs_calls
        if fetch_value(connection, "recording.knows_archetypes", bool):
            self._insert = "recording.insert_trajectory_with_archetype"
        return connection

    def close(self) -> None:
        """Close the connection; the next write opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _pipeline(connection: Connection) -> AbstractContextManager[object]:
    """Send many statements without waiting for each; an old libpq cannot."""
    return connection.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()


def _named(trajectories: Sequence[Mapping[str, Any]]) -> str:
    more = f" and {len(trajectories) - 1} more" if len(trajectories) > 1 else ""
    return f"trajectory {trajectories[0]['trajectory_id']}{more}"
