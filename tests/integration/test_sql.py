"""What a named statement returns: structs by column name, single values, the rows it changed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import (
    execute,
    fetch_all,
    fetch_one,
    fetch_pairs,
    fetch_value,
    fetch_values,
)
from babylon_tasks.errors import DatabaseError
from babylon_tasks.states import WindowState

pytestmark = pytest.mark.contract(None)

HOURS = ("2026-01-31T08:00", "2026-01-31T09:00")


class Failed(Struct):
    """The columns of reports.failed_windows, in another order than the statement selects them."""

    reason: str | None
    window: str


class Misspelt(Struct):
    """The same with a field that no column fills and one column without a field."""

    window: str
    why: str = ""


class Reasoned(Struct):
    """The same for windows that all have a reason."""

    window: str
    reason: str


class Oldest(Struct):
    """The columns of reports.oldest_due."""

    window: str
    state: WindowState
    since: datetime


@pytest.fixture
def failed(connection: Connection) -> Connection:
    """Two windows that failed without a reason."""
    for hour, window in enumerate(HOURS, 8):
        starts_at = datetime(2026, 1, 31, hour, tzinfo=UTC)
        assert _open(connection, window, starts_at) == 1
        connection.execute("UPDATE training.windows SET state = 'failed'")
    return connection


def _open(connection: Connection, window: str, starts_at: datetime) -> int:
    return execute(
        connection, "open_and_seal.open", window_id=window, starts_at=starts_at, held_out=False
    )


def test_rows_become_structs_by_the_names_of_their_columns(failed: Connection) -> None:
    found = fetch_all(failed, "reports.failed_windows", Failed, lineage=None, limit=10)
    assert found == [Failed(None, HOURS[1]), Failed(None, HOURS[0])]


def test_text_becomes_the_enum_that_the_field_names(failed: Connection) -> None:
    failed.execute("UPDATE training.windows SET state = 'sealed'")
    oldest = fetch_one(failed, "reports.oldest_due", Oldest, lineage=None)
    assert oldest is not None
    assert oldest.state is WindowState.SEALED


def test_no_row_is_none_or_nothing(connection: Connection) -> None:
    assert fetch_one(connection, "reports.oldest_due", Oldest, lineage=None) is None
    assert fetch_all(connection, "reports.failed_windows", Failed, lineage=None, limit=10) == []
    assert fetch_value(connection, "outcomes.newest", str, now="9999") is None
    assert fetch_values(connection, "open_and_seal.known", str, windows=[]) == []
    assert fetch_pairs(connection, "windows.counts", WindowState, int, lineage=None) == {}


def test_a_column_that_the_struct_lacks_is_refused(failed: Connection) -> None:
    with pytest.raises(TypeError, match=r"reports\.failed_windows selects reason, which Misspelt"):
        fetch_all(failed, "reports.failed_windows", Misspelt, lineage=None, limit=10)


def test_null_where_the_field_allows_none_is_refused(failed: Connection) -> None:
    with pytest.raises(DatabaseError, match=r"reports\.failed_windows .*got `null` - at `\$\.reas"):
        fetch_all(failed, "reports.failed_windows", Reasoned, lineage=None, limit=10)


def test_single_values_come_without_their_tuple(failed: Connection) -> None:
    assert isinstance(fetch_value(failed, "clock.now", datetime), datetime)
    assert sorted(fetch_values(failed, "open_and_seal.known", str, windows=list(HOURS))) == list(
        HOURS
    )
    with pytest.raises(DatabaseError, match=r"clock\.now .*Expected `int`"):
        fetch_value(failed, "clock.now", int)


def test_two_columns_become_a_dict(failed: Connection) -> None:
    assert fetch_pairs(failed, "windows.counts", WindowState, int, lineage=None) == {
        WindowState.FAILED: 2
    }


def test_execute_counts_the_rows_that_changed(failed: Connection) -> None:
    assert _open(failed, HOURS[0], datetime(2026, 1, 31, 8, tzinfo=UTC)) == 0
    assert execute(failed, "due_windows.mark_enqueued", windows=list(HOURS)) == 2
