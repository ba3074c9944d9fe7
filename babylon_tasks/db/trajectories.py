"""Read a window's trajectories in bounded memory."""

from __future__ import annotations

from collections.abc import Generator

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import copy_statement, fetch_value, fetch_values
from babylon_tasks.records import RawTrajectory
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_end, window_start

# COPY sends neither names nor types. The statement gets these names, in the order of the fields.
_COLUMNS = {
    "trajectory_id": "text",
    "agent_id": "text",
    "scenario_id": "text",
    "steps_json": "text",
    "steps_bytes": "int4",
    "final_pnl": "float8",
    "is_evaluation": "bool",
    "is_training_data": "bool",
    "already_used": "bool",
    "archetype": "text",
    "window_id": "text",
}
assert tuple(_COLUMNS) == RawTrajectory.__struct_fields__  # noqa: S101
_BATCH_BYTES = 4_000_000


def stream_window(
    connection: Connection, window: str, settings: Settings, *, used: bool = False
) -> Generator[list[RawTrajectory], None, None]:
    """Yield the rows of a window in batches, all as of one moment; occupies the connection.

    A row belongs to a window by its "windowId", or, if the writer set none, by its start. Rows
    beyond ``max_steps_bytes`` come without their text, which never leaves the server. So do rows
    that another training has used, unless ``used`` includes them. A batch ends at ``read_batch``
    rows or a few megabytes, so memory does not depend on the rows' size. Close the generator when
    leaving early: that cancels what the server still sends.
    """
    # COPY, not a cursor: the server sends on while the caller works, and one statement is one
    # snapshot without keeping a transaction open.
    parameters = {
        "window": window,
        # Babylon's columns have no time zone and mean UTC.
        "start": window_start(window).replace(tzinfo=None),
        "end": window_end(window).replace(tzinfo=None),
        "largest": settings.max_steps_bytes,
        "used": used,
        "ours": used_by_ours(connection),
    }
    batch: list[RawTrajectory] = []
    weight = 0
    with (
        connection.cursor() as cursor,
        cursor.copy(copy_statement("trajectories.copy_window", _COLUMNS), parameters) as copy,
    ):
        copy.set_types(list(_COLUMNS.values()))
        for row in copy.rows():
            raw = RawTrajectory(*row)
            batch.append(raw)
            weight += raw.steps_bytes if raw.steps_json is not None else 0
            if len(batch) >= settings.read_batch or weight >= _BATCH_BYTES:
                yield batch
                batch, weight = [], 0
    if batch:
        yield batch


def used_by_ours(connection: Connection) -> list[str]:
    """List the marks on trajectories that exclude them from no lineage but the one that set them.

    Empty where there is one lineage only, or none of our tables.
    """
    if not fetch_value(connection, "data_report.is_migrated", bool):
        return []
    return fetch_values(connection, "trajectories.published", str)
