"""A lineage's running comparison takes each finished window, once, in the order of hours.

What a window shows is recorded with its conclusion, and acted upon (``act_on_conclusion``), in one
transaction under the lineage's lock: whoever calls at the same time takes turns.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from msgspec import Struct

from babylon_tasks.arms import Arms, in_force
from babylon_tasks.comparison import agents, rule
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.on_record import parameters_of, state_after
from babylon_tasks.comparison.parameters import ComparisonParameters, Proof
from babylon_tasks.db import arms, clock, comparisons, promotions
from babylon_tasks.db.comparisons import ComparedFigures, Comparison, NextWindow
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherVersion, CheckpointNotFound, IllegalTransition
from babylon_tasks.pipeline.act_on_conclusion import act, lacks_anchor
from babylon_tasks.pipeline.comparison_acts import Concluded
from babylon_tasks.policy_names import policy_name
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id, window_start

WINDOWS = 50  # of one call
_LATE = timedelta(days=7)  # before the last one: earlier windows are not looked for
_HARM = (
    Conclusion.ROLLBACK,
    Conclusion.ROLLBACK_AND_PAUSE,
    Conclusion.TO_FLOOR,
    Conclusion.WITHDRAW,
)
log = structlog.get_logger(__name__)


class WindowTaken(Struct, frozen=True):
    """A window that a comparison took; ``conclusion`` is ``late`` for one that came too late.

    ``done``: what followed, in words.
    """

    window: str
    conclusion: str
    why: str = ""
    done: str = ""

    @property
    def is_news(self) -> bool:
        """Whether it led to anything."""
        return bool(self.done) or self.conclusion not in (Conclusion.KEEP, comparisons.LATE)


def compare(
    connection: Connection, settings: Settings, *, limit: int = WINDOWS
) -> list[WindowTaken]:
    """Take the windows that can be compared, in order; idempotent, safe from any number of callers.

    Nothing happens without a running comparison. A window whose conclusion cannot be acted upon, as
    where the anchor was pruned by force, or one after what another version has recorded, is not
    taken: it is tried again, and the log says so.
    """
    lineage = settings.lineage
    taken: list[WindowTaken] = []
    while len(taken) < limit and comparisons.running(connection, lineage) is not None:
        try:
            with connection.transaction():
                promotions.lock(connection, lineage)
                one = _take_next(connection, settings)
        except (AnotherVersion, CheckpointNotFound, IllegalTransition) as error:
            log.error("comparison.failed", lineage=lineage, why=str(error))
            break
        if one is None:
            break
        taken.append(one)
        if one.is_news:
            _report(lineage, one)
    return taken


def _report(lineage: str, one: WindowTaken) -> None:
    say = log.warning if one.conclusion in _HARM else log.info
    say(
        "comparison.concluded",
        lineage=lineage,
        window=one.window,
        conclusion=one.conclusion,
        why=one.why,
        done=one.done or "nothing",
    )


def _take_next(connection: Connection, settings: Settings) -> WindowTaken | None:
    lineage = settings.lineage
    running = comparisons.running(connection, lineage)
    if running is None:  # it was ended meanwhile
        return None
    if lacks_anchor(connection, settings, running):
        return None
    before = comparisons.last(connection, running.id)
    last = "" if before is None else before.window
    first = running.began_window
    if last:
        first = max(first, window_id(window_start(last) - _LATE))
    found = comparisons.next_window(connection, running.id, first=first, last=last)
    if found is None:
        return None
    moment = clock.of_hours(connection)
    if found.window < last:
        comparisons.add(connection, running.id, found, comparisons.LATE, None, moment=moment)
        return WindowTaken(found.window, comparisons.LATE)
    parameters = parameters_of(running.id, running.parameters)
    state = rule.begin(parameters)
    if before is not None and before.state is not None:
        state = state_after(running.id, before.window, before.state)
    rows = arms.since(connection, lineage, found.window)
    drawn = in_force(rows, found.window) or Arms(from_window=found.window, salt="")
    tried = drawn.examinee_step if drawn.examinee_share else None
    observation = _observe(connection, lineage, running, parameters, found, drawn, tried)
    compared = rule.compare(parameters, state, observation)
    figures = ComparedFigures(observation, compared.state, compared.evidence)
    comparisons.add(connection, running.id, found, compared.conclusion, figures, moment=moment)
    concluded = Concluded(running, parameters, found.window, compared, tried, moment)
    done = act(connection, settings, concluded)
    return WindowTaken(found.window, compared.conclusion, compared.evidence.reason, done)


def _observe(
    connection: Connection,
    lineage: str,
    running: Comparison,
    parameters: ComparisonParameters,
    found: NextWindow,
    drawn: Arms,
    tried: int | None,
) -> ComparedWindow:
    active = comparisons.agents(connection, lineage, found.window, found.reward_version, drawn)
    return agents.observe(
        parameters,
        drawn,
        active,
        found.window,
        # What was concluded once the hour had begun is followed by later hours only.
        decided=comparisons.decided_before(connection, running.id, window_start(found.window)),
        examinee="" if tried is None else policy_name(lineage, tried),
        discards_examinee=tried is not None and tried != drawn.control_step,
        anchored=parameters.proof is Proof.AVERAGE
        and _anchor_serves(connection, lineage, drawn, found.window),
        answers=comparisons.answers(connection, lineage, found.window),
    )


def _anchor_serves(connection: Connection, lineage: str, drawn: Arms, window: str) -> bool:
    """Check whether the anchor serves now, or did when the window began."""
    served = promotions.served(connection, lineage)
    began = window_start(window)
    then = [one.step for one in served if one.since is None or one.since <= began]
    return drawn.control_step in (*then[-1:], served[-1].step)
