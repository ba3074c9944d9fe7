"""Begin a lineage's comparison, with its arms, and end it."""

from __future__ import annotations

from uuid import uuid4

from babylon_tasks.arms import Arms
from babylon_tasks.comparison import rule
from babylon_tasks.comparison.next_arms import has_trials
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.db import arms, clock, comparisons, events, lineages, promotions
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import IllegalTransition
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.gateway_settings import server_of
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry.comparison_terms import terms, too_few
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, window_id

ACTOR = "comparison"  # of what no person does


def start(
    connection: Connection,
    settings: Settings,
    *,
    anchor_step: int | None,
    anchor_model: str | None,
    examinee_step: int | None,
    actor: str,
) -> Comparison:
    """Begin a comparison with the next hour, and its arms; raises IllegalTransition.

    Another server's model, one that is listed, is the anchor of a ramp, and nothing is on trial
    before its end. The shares are chosen by the number of agents, without those that ask only
    other lineages. Raises CheckpointNotFound for a step that cannot be an arm's.
    """
    lineage = settings.lineage
    with connection.transaction():
        promotions.lock(connection, lineage)
        now = comparisons.running(connection, lineage)
        if now is not None:
            raise IllegalTransition(
                f"comparison {now.id} of lineage {lineage} runs, from {now.began_window} on; "
                "`babylon-tasks compare stop --reason TEXT` ends it"
            )
        if anchor_model is not None and server_of(settings.gateway_upstreams, anchor_model) is None:
            raise IllegalTransition(
                f"no server of BABYLON_GATEWAY_UPSTREAMS lists {anchor_model}, so nobody would "
                "answer its agents, and no comparison was begun; correct the name, or give this "
                "command the servers that the gateway has"
            )
        for step in (anchor_step, examinee_step):
            if step is not None and not promotions.is_committed(connection, lineage, step):
                raise IllegalTransition(
                    f"{policy_name(lineage, step)} does not exist, so no arm can have it; "
                    "`babylon-tasks models list` lists the checkpoints"
                )
        agents = comparisons.asking(connection, lineage).rewarded
        why = too_few(agents)
        if why is not None:
            raise IllegalTransition(
                f"of lineage {lineage} in the newest hour with rewards, {why}, so no comparison "
                "was begun; run more agents, or promote by screens "
                "(BABYLON_PROMOTION_MODE=screened)"
            )
        parameters = terms(
            settings,
            agents,
            comparisons.trials(connection, lineage),
            external=anchor_model is not None,
        )
        _require_trial(parameters, anchor_step, examinee_step)
        return begin(
            connection,
            lineage,
            parameters,
            anchor_step=anchor_step,
            anchor_model=anchor_model,
            examinee_step=examinee_step,
            actor=actor,
        )


def _require_trial(
    parameters: ComparisonParameters, anchor_step: int | None, examinee_step: int | None
) -> None:
    """Raise IllegalTransition where an examinee is named that cannot be tried."""
    if examinee_step is None:
        return
    if not has_trials(parameters, rule.begin(parameters)):
        why = "on a ramp, or by an average, nothing is on trial when a comparison begins"
    elif examinee_step == anchor_step:
        why = "the anchor cannot be tried against itself"
    else:
        return
    raise IllegalTransition(f"{why}, so none was begun; begin it without --examinee")


def begin(
    connection: Connection,
    lineage: str,
    parameters: ComparisonParameters,
    *,
    anchor_step: int | None,
    anchor_model: str | None,
    examinee_step: int | None,
    actor: str,
) -> Comparison:
    """Begin a comparison with the next hour, in the caller's transaction, under its lock."""
    shares = rule.shares(parameters, rule.begin(parameters), examinee=examinee_step is not None)
    first = window_id(clock.of_hours(connection) + WINDOW)
    comparisons.begin(
        connection,
        lineage,
        anchor_step=anchor_step,
        anchor_model=anchor_model,
        parameters=parameters,
        began_window=first,
        actor=actor,
    )
    drawn = Arms(
        from_window=first,
        salt=uuid4().hex,
        control_share=shares.control,
        control_step=anchor_step,
        control_model=anchor_model,
        examinee_share=shares.examinee,
        examinee_step=examinee_step,
    )
    arms.begin(connection, lineage, drawn)
    begun = comparisons.running(connection, lineage)
    assert begun is not None  # noqa: S101  # it was inserted above
    events.record(
        connection,
        EventKind.COMPARISON_BEGUN,
        actor=actor,
        window=first,
        lineage=lineage,
        detail={
            "comparison": begun.id,
            "anchor": anchor_model or policy_name(lineage, anchor_step or 0),
            "control": shares.control,
            "examinee": None if examinee_step is None else policy_name(lineage, examinee_step),
        },
    )
    return begun


def stop(
    connection: Connection, lineage: str, *, reason: str, actor: str, to_serving: bool = False
) -> Comparison | None:
    """End the running comparison and its arms, at once; returns it, or None if nothing ended.

    Another server's model, the anchor of a ramp, answers all agents then, unless ``to_serving``,
    which also ends that later.
    """
    if lineages.get(connection, lineage) is None:
        return None
    with connection.transaction():
        promotions.lock(connection, lineage)
        found = comparisons.running(connection, lineage)
        now = arms.this_hour(connection)
        drawn = arms.since(connection, lineage, now)
        model = drawn[-1].control_model if drawn and not to_serving else None
        if found is not None:
            end(connection, lineage, found, reason=reason, actor=actor)
        elif not to_serving or not drawn or not drawn[-1].control_share:
            return None
        share = 0.0 if model is None else 1.0
        rest = Arms(from_window=now, salt=uuid4().hex, control_share=share, control_model=model)
        arms.begin(connection, lineage, rest)
        return comparisons.newest(connection, lineage)


def end(
    connection: Connection, lineage: str, running: Comparison, *, reason: str, actor: str
) -> None:
    """End a comparison but not its arms, in the caller's transaction, under its lock."""
    comparisons.end(connection, running.id, reason=reason, actor=actor)
    events.record(
        connection,
        EventKind.COMPARISON_ENDED,
        actor=actor,
        lineage=lineage,
        detail={"comparison": running.id, "why": reason},
    )
