"""``compare picture``: a recorded ramp as a file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from command_line import Run, one_contract
from compared_hours import PARAMETERS, begun, lineage, taken
from documents import ROOT
from drawn_words import words
from msgspec.structs import replace
from recorded_ramp import EXTERNAL, ramp
from recorded_ramp import PARAMETERS as SIMULATED
from scored_windows import hour

from babylon_tasks.comparison.parameters import Ramp
from babylon_tasks.db import arms, comparisons
from babylon_tasks.db.comparisons import ComparedFigures, NextWindow
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_end

pytestmark = one_contract
RAMP = replace(
    PARAMETERS,
    ramp=Ramp(shares=(0.2, 0.3, 0.5, 0.8), evidence=(3.0, 1.5, 1.5), min_windows=1, budget=0.3),
)
PICTURE = ROOT / "docs" / "pictures" / "comparison.svg"
MODEL = "<script>alert(1)</script>"


def test_a_ramp_is_drawn_as_it_was_recorded(
    run: Run, connection: Connection, settings: Settings, tmp_path: Path
) -> None:
    lineage(connection)
    comparison = begun(connection, anchor=MODEL, parameters=RAMP)
    for number in range(8):
        assert taken(connection, settings, number, serving=0.8) is not None
    file, svg = tmp_path / "ramp.html", tmp_path / "ramp.svg"

    said = run("compare", "picture", str(file))
    found = run("compare", "picture", str(svg), "--comparison", str(comparison.id), "--json")

    assert (said.code, said.out) == (0, f"{file}: comparison {comparison.id}, 8 windows\n")
    text = file.read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert text.count(" rise</td>") == 3
    assert "not worse by the margin: the share rises to 30%" in text
    assert "Shares of the arms" in svg.read_text("utf-8")
    marks = found.document.pop("marks")
    drawn = {"comparison": comparison.id, "file": str(svg), "windows": 8}
    assert {name: found.document[name] for name in drawn} == drawn
    assert [one["conclusion"] for one in marks][:3] == ["rise", "rise", "rise"]
    assert marks[0]["done"]
    assert hour(0) <= marks[0]["window"] <= hour(7)


def test_the_picture_in_the_documents_is_what_the_command_draws(
    run: Run, connection: Connection, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chosen: str | None = request.config.getoption("--pictures")
    lineage(connection)
    replayed(connection)
    svg = tmp_path / PICTURE.name

    assert run("compare", "picture", str(svg)).code == 0

    if chosen is not None:
        shutil.copyfile(svg, Path(chosen) / PICTURE.name)
    assert words(PICTURE.read_text("utf-8")) == words(svg.read_text("utf-8")), "run `make pictures`"


def replayed(connection: Connection) -> None:
    """A simulated ramp, as it would have been recorded."""
    hours = list(ramp(36, falls_at=22))
    comparisons.begin(
        connection,
        "babylon",
        anchor_step=None,
        anchor_model=EXTERNAL,
        parameters=SIMULATED,
        began_window=hours[0].window.window,
        actor="test",
    )
    running = comparisons.running(connection, "babylon")
    assert running is not None
    for one in hours:
        arms.begin(connection, "babylon", one.arms)
        comparisons.add(
            connection,
            running.id,
            NextWindow(one.window.window, 1),
            one.compared.conclusion,
            ComparedFigures(one.window, one.compared.state, one.compared.evidence),
            moment=window_end(one.window.window),
        )


def test_what_cannot_be_drawn_is_refused_with_the_reason(
    run: Run, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.html"
    assert (run("compare", "picture", str(tmp_path / "x.png"))).code == 2
    assert "compares nothing" in run("compare", "picture", str(file)).err
    lineage(connection)
    begun(connection)

    waiting = run("compare", "picture", str(file))
    other = run("compare", "picture", str(file), "--comparison", "99")

    assert (waiting.code, "has compared no window yet" in waiting.err) == (3, True)
    assert (other.code, "has no comparison 99" in other.err) == (3, True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    lacking = run("compare", "picture", str(file))
    assert lacking.code != 0
    assert "pip install 'babylon-tasks[pictures]'" in lacking.err
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_named(
    run: Run, connection: Connection, settings: Settings, tmp_path: Path
) -> None:
    lineage(connection)
    begun(connection)
    taken(connection, settings, 0)

    found = run("compare", "picture", str(tmp_path / "nowhere" / "x.svg"))

    assert (found.code, "nowhere" in found.err) == (2, True)
