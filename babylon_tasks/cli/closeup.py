"""How ``show`` prints trajectories: readable at 60 columns, side by side where there is room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from babylon_tasks.cli.output import LISTED, cell, out, show
from babylon_tasks.plain_text import plain
from babylon_tasks.policy_names import policy_step
from babylon_tasks.run_records import (
    CallCloseup,
    RewardCloseup,
    TrajectoryCloseup,
    WindowExtremes,
)

_TEXT = 4_000  # characters of a prompt or an answer; --json has all
_BESIDE = 100  # columns of a terminal that shows two trajectories side by side


def print_trajectory(found: TrajectoryCloseup) -> None:
    """Print one trajectory."""
    out.print(_drawn(found))


def print_window(found: WindowExtremes) -> None:
    """Print the best and the worst of a window, beside each other on a wide terminal."""
    reason = f" ({found.reason})" if found.reason else ""
    scored = "" if found.scored is None else f"; {found.scored} trajectories are scored"
    show(f"{found.window} is {found.state}{reason}{scored}")
    if not (found.best or found.worst):
        show(f"there is no reward to choose by: `babylon-tasks why {found.window}` says why")
    if found.best and found.worst and out.is_terminal and out.width >= _BESIDE:
        beside = Table.grid(padding=(1, 2), expand=True)
        beside.add_column(ratio=1)
        beside.add_column(ratio=1)
        for one, other in zip_longest(found.best, found.worst):
            beside.add_row(_headed("best", one), _headed("worst", other))
        out.print(beside)
        return
    for heading, those in (("best", found.best), ("worst", found.worst)):
        for one in those:
            out.print()
            out.print(_headed(heading, one))


def reward_in_words(reward: RewardCloseup) -> str:
    """Say what a trajectory got, and its place among those that it was compared with."""
    got = f"reward {reward.reward:.3f} by {reward.scorer}, version {reward.reward_version}"
    number = len(reward.comparable)
    return f"{got}; place {reward.place} of {number} comparable" if number > 1 else got


def comparable_in_words(reward: RewardCloseup) -> str:
    """List what the comparable trajectories got, and how many of them did."""
    counted = Counter(f"{one:.3f}" for one in reward.comparable)  # the best first, as they are
    got = [f"{value} ({n})" if n > 1 else value for value, n in counted.items()]
    more = f", and {len(got) - LISTED} other rewards" if len(got) > LISTED else ""
    return f"{', '.join(got[:LISTED])}{more}"


def call_heading(call: CallCloseup, number: int, of: int) -> str:
    """Name a call by its number and by what answered it."""
    by = call.model or "a model without a name"
    named = call.policy_step is None or call.policy_step == policy_step(call.model)
    step = "" if named else f", checkpoint {call.policy_step}"
    return f"call {number} of {of}, by {by}{step}"


def _headed(heading: str, found: TrajectoryCloseup | None) -> Group:
    if found is None:
        return Group()
    return Group(Text(heading, style="bold"), _drawn(found))


def _drawn(found: TrajectoryCloseup) -> Group:
    return Group(*_lines(found))


def _lines(found: TrajectoryCloseup) -> Iterator[Text | Padding]:
    where = "" if found.window is None else f" of {found.window}"
    by = "" if found.agent_id is None else f" by {found.agent_id}"
    yield _line(f"trajectory {found.trajectory_id}{where}{by}")
    yield _line(f"{found.account}: {found.detail}")
    if found.reward is None:
        yield _line("it has no reward")
    else:
        yield _line(reward_in_words(found.reward))
        if found.reward.parts:
            yield _line(f"made of {cell(found.reward.parts)}")
        if len(found.reward.comparable) > 1:
            yield _line(f"comparable ones got {comparable_in_words(found.reward)}")
    for number, call in enumerate(found.calls[:LISTED], 1):
        yield _line("")
        yield _line(call_heading(call, number, len(found.calls)), style="bold")
        for message in call.prompt:
            yield from _block(message.role, message.text)
        yield from _block("answer", call.answer)
        yield _line(f"done: {call.action or 'nothing is recorded'}")
    if len(found.calls) > LISTED:
        yield _line(f"and {len(found.calls) - LISTED} more calls: see --json")
    if found.unreadable is not None:
        yield _line(f"no prompt and no answer: {found.unreadable}")


def _line(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)


def _block(name: str, text: str) -> Iterator[Text | Padding]:
    """Indent a text of others, line by line: none of it can pass for a line of ours."""
    yield _line(f"{name}:")
    for line in text[:_TEXT].split("\n"):
        yield Padding(Text(plain(line, keep="\t")), (0, 0, 0, 4), expand=False)
    if len(text) > _TEXT:
        yield _line(f"  and {len(text) - _TEXT} more characters: see --json")
