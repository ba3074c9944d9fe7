"""Hours as an engineer on call names, pages through and retries them."""

from __future__ import annotations

import io

import pytest
from command_line import Run, one_contract, sealed
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.cli import output
from babylon_tasks.cli import retry as retrying
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings


def _failed(connection: Connection, *numbers: int) -> None:
    for number in numbers:
        scored_window(connection, hour(number), state="failed")
    connection.execute(
        "UPDATE training.windows SET reason = 'scoring failed 3 times' WHERE state = 'failed'"
    )


@one_contract
@pytest.mark.parametrize("written", ["T09", "T09:00Z", "T09:30", "T11:45+02:00"])
def test_any_moment_of_an_hour_names_its_window(
    run: Run, connection: Connection, written: str
) -> None:
    scored_window(connection, hour(9))
    moment = hour(9)[:10] + written
    for command in (("why",), ("score",), ("windows", "retry")):
        found = run(*command, moment)
        assert hour(9) in found.out + found.err
        assert "is not" not in found.err
    assert run("why", moment, "--json").document["window"]["window_id"] == hour(9)
    assert run("tripwires", "accept", moment).err.startswith(
        "not tripped for lineage babylon: " + hour(9)
    )


@one_contract
def test_a_page_says_what_it_left_out_and_how_to_see_it(run: Run, connection: Connection) -> None:
    for number in range(1, 6):
        scored_window(connection, hour(number))
    scored_window(connection, hour(6), state="held_out")

    page = run("windows", "list", "--limit", "2", "--state", "scored")
    assert (
        page.err == f"3 older ones are left out: --until {hour(4)} shows the next, --limit 5 all\n"
    )
    rest = run("windows", "list", "--limit", "3", "--state", "scored", "--until", hour(4), "--json")
    assert [one["window_id"] for one in rest.document["windows"]] == [hour(3), hour(2), hour(1)]
    assert rest.document["left_out"] == 0


@one_contract
def test_an_option_that_is_gone_says_what_to_write(run: Run) -> None:
    found = run("windows", "list", "--lookback-hours", "24")
    assert (found.code, "write --since 24h" in found.err) == (2, True)


@one_contract
def test_all_that_failed_in_a_span_are_tried_again_once_they_were_shown(
    run: Run, connection: Connection
) -> None:
    _failed(connection, 1, 2, 3)
    scored_window(connection, hour(4))
    span = ("--since", hour(2), "--until", hour(5))

    shown = run("windows", "retry", *span, "--dry-run")
    assert shown.code == 0
    assert f"2 failed windows:\n  {hour(2)}  scoring failed 3 times\n  {hour(3)}" in shown.out
    asked = run("windows", "retry", *span)  # without a terminal nobody can answer
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert column(connection, "SELECT count(*) FROM training.windows WHERE state = 'failed'") == [3]

    done = run("windows", "retry", *span, "--yes", "--json")
    assert [(one["window"], one["state"]) for one in done.document["windows"]] == [
        (hour(2), "scored"),
        (hour(3), "scored"),
    ]
    assert run("windows", "retry", "--since", hour(2)).out == "0 failed windows; nothing to do\n"
    assert column(connection, "SELECT window_id FROM training.windows WHERE state = 'failed'") == [
        hour(1)
    ]
    assert column(connection, "SELECT count(*) FROM training.events WHERE kind = 'retried'") == [2]


@one_contract
def test_whoever_says_no_changes_nothing(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failed(connection, 1, 2)
    monkeypatch.setattr(retrying.sys.stdin, "isatty", lambda: True)  # type: ignore[attr-defined]
    monkeypatch.setattr(retrying.typer, "confirm", lambda *_, **__: False)  # type: ignore[attr-defined]
    found = run("windows", "retry", "--since", hour(1))
    assert (found.code, "nothing was changed" in found.err) == (3, True)
    assert column(connection, "SELECT count(*) FROM training.windows WHERE state = 'failed'") == [2]


class _Terminal(io.StringIO):
    """A keyboard at which somebody presses Ctrl-C, or else Ctrl-D."""

    def __init__(self, *, interrupts: bool) -> None:
        super().__init__()
        self._interrupts = interrupts

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:  # type: ignore[override]
        if self._interrupts:
            raise KeyboardInterrupt
        return ""


@one_contract
@pytest.mark.parametrize(("interrupts", "code"), [(True, 130), (False, 3)])
def test_whoever_breaks_the_question_off_changes_nothing(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch, interrupts: bool, code: int
) -> None:
    _failed(connection, 1, 2)
    monkeypatch.setattr("sys.stdin", _Terminal(interrupts=interrupts))
    found = run("windows", "retry", "--since", hour(1))
    assert (found.code, "Aborted" in found.err) == (code, False), found.err
    assert ("nothing was changed" in found.err) is not interrupts
    assert column(connection, "SELECT count(*) FROM training.windows WHERE state = 'failed'") == [2]


@one_contract
def test_of_more_than_can_be_taken_at_once_the_newest_are_and_the_others_named(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failed(connection, 1, 2, 3)
    monkeypatch.setattr(retrying, "_AT_ONCE", 2)
    found = run("windows", "retry", "--since", hour(1), "--yes")
    assert f"those before {hour(2)} are left out: run the command again" in found.err
    assert "2 windows to be done again" in found.out
    found = run("windows", "retry", "--since", hour(1), "--yes")
    assert (found.code, "left out" in found.err) == (0, False)
    assert column(connection, "SELECT count(*) FROM training.windows WHERE state = 'failed'") == [0]


@one_contract
def test_who_finds_all_of_them_taken_by_somebody_else_is_told_so(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failed(connection, 1, 2)
    monkeypatch.setattr(retrying.sys.stdin, "isatty", lambda: True)  # type: ignore[attr-defined]

    def meanwhile(*_: object, **__: object) -> bool:
        connection.execute("UPDATE training.windows SET state = 'scored' WHERE state = 'failed'")
        return True

    monkeypatch.setattr(retrying.typer, "confirm", meanwhile)  # type: ignore[attr-defined]
    found = run("windows", "retry", "--since", hour(1))
    assert found.code == 3
    assert f"window {hour(1)} is scored" in found.err
    assert "nothing was changed: none of them is failed any more" in found.err


@one_contract
@pytest.mark.parametrize("arguments", [(), (hour(1), "--since", "2h")])
def test_a_retry_names_one_window_or_a_span(run: Run, arguments: tuple[str, ...]) -> None:
    found = run("windows", "retry", *arguments)
    assert (found.code, "name one WINDOW, or --since TIME" in found.err) == (2, True)


@one_contract
@pytest.mark.parametrize("listed", ["windows", "models"])
def test_lists_are_tables_at_eighty_columns(
    run: Run,
    connection: Connection,
    settings: Settings,
    listed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window = sealed(run, connection)
    assert run("score", window).code == 0
    assert train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="t").step
    file = io.StringIO()
    # In place: a command that is imported now would keep another for good.
    monkeypatch.setattr(output.out, "_file", file)
    monkeypatch.setattr(output.out, "_width", 80)
    run(listed, "list")
    head, *rest = file.getvalue().splitlines()
    assert head.split()[0] == listed.rstrip("s")
    assert rest
    assert max(map(len, [head, *rest])) <= 80
