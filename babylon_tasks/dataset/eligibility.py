"""Which recorded calls the next training step may use, with which label, and why not the others.

| label | the call |
|---|---|
| exact | records each token that was sampled, with its log-probability |
| parent | was answered by the checkpoint that the step starts from: its log-probabilities are those of the sampling |
| rescored | was answered by a checkpoint of the lineage whose weights still exist, to compute them again |
| none | lacks all of these; its importance ratio is unknown |

All but ``none`` require temperature 1, top_p 1 and no parameter that shapes the sample: only then
was the policy itself sampled.
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from babylon_tasks.dataset.checkpoint_tree import Parents, ages
from babylon_tasks.policy_names import STEP
from babylon_tasks.reasons import Reason
from babylon_tasks.records import LlmCall
from babylon_tasks.settings import Settings

EXACT = "exact"
PARENT = "parent"
RESCORED = "rescored"
NONE = "none"

_OURS = re.compile(
    r"(?:wandb-artifact:///(?:[^/]+/){2})?(?P<name>[^/@:]+)(?:@|:step)" rf"(?P<step>{STEP})"
)


class PolicyNames(Struct, frozen=True, kw_only=True):
    """By which names a lineage's policies are asked.

    ``base_model_aliases`` are other names that providers record for the base model,
    ``inference_names`` maps the names that agents request to steps, step 0 included.
    ``come_again`` are those of them that an earlier checkpoint had, as at W&B after it was
    discarded, with the first hour in which they can mean the newest only.
    """

    lineage: str
    base_model: str
    base_model_aliases: tuple[str, ...] = ()
    inference_names: Mapping[str, int] = {}
    come_again: Mapping[str, str] = {}


class Policies(PolicyNames, frozen=True, kw_only=True):
    """What is known of the lineage when a step is planned; it starts from ``parent_step``.

    ``ages`` maps a step to its distance from ``parent_step`` in training steps; without an entry,
    the distance is that of the numbers. Answers of ``serving_step`` are never stale: agents cannot
    use anything newer.
    """

    head_step: int
    serving_step: int
    parent_step: int
    ages: Mapping[int, int] = {}


def policies_of(
    settings: Settings,
    *,
    head_step: int,
    serving_step: int,
    inference_names: Mapping[str, int],
    parents: Parents,
    come_again: Mapping[str, str] | None = None,
) -> Policies:
    """Describe the lineage as planning sees it.

    A step starts from the serving weights: a refused checkpoint is a dead branch, and the agents'
    answers are then exactly on-policy.
    """
    return Policies(
        lineage=settings.lineage,
        base_model=settings.base_model,
        base_model_aliases=settings.base_model_names[1:],
        head_step=head_step,
        inference_names=inference_names,
        come_again=come_again or {},
        serving_step=serving_step,
        ages=ages(serving_step, head_step, parents),
        parent_step=serving_step,
    )


class UnfitCall(Struct, frozen=True):
    """A call that must not be learned from."""

    reason: Reason


def policy_step(call: LlmCall, names: PolicyNames, window: str | None = None) -> int | Reason:
    """Identify the lineage's step that produced a call; without one, return the reason.

    ``window`` is the call's hour, None where that does not matter.
    """
    since = names.come_again.get(call.model)
    if since is not None and window is not None and window < since:
        return Reason.OTHER_POLICY
    known = names.inference_names.get(call.model)
    if known is not None:
        return known
    of_base_model = call.model in (names.base_model, *names.base_model_aliases)
    if of_base_model or call.model == names.lineage:
        # A name without a step: use the recorded policyStep; the base model is step 0.
        if call.policy_step is not None:
            return call.policy_step
        return 0 if of_base_model else Reason.UNKNOWN_POLICY_STEP
    match = _OURS.fullmatch(call.model)
    if match is None or match["name"] != names.lineage:
        return Reason.OTHER_POLICY
    return int(match["step"])


def label(
    call: LlmCall,
    policies: Policies,
    allowed: Sequence[str],
    *,
    max_staleness_steps: int,
    window: str | None = None,
) -> str | UnfitCall:
    """Find the first of the ``allowed`` labels that fits a call, or why none does.

    A step uses calls of one label only. Some calls are unfit for any label: answers of another
    policy, and prompts that are not all text.
    """
    if call.carries is not None:
        return UnfitCall(Reason(call.carries))
    step = policy_step(call, policies, window)
    if isinstance(step, Reason):
        return UnfitCall(step)
    if step > policies.head_step:
        return UnfitCall(Reason.FUTURE_POLICY)
    age = policies.ages.get(step, policies.head_step - step)
    if age > max_staleness_steps and step != policies.serving_step:
        return UnfitCall(Reason.STALE)
    lacks = {wanted: _lacks(call, wanted, step, policies) for wanted in allowed}
    for wanted, missing in lacks.items():
        if missing is None:
            return wanted
    return UnfitCall(next(filter(None, lacks.values()), Reason.NO_LOGPROBS))


def exact(call: LlmCall) -> bool:
    """Check whether a call records the sampled tokens and their log-probabilities."""
    return _unknown(call, scored=True) is None


def _lacks(call: LlmCall, wanted: str, step: int, policies: Policies) -> Reason | None:
    if wanted == NONE:
        return None
    unknown = _unknown(call, scored=wanted == EXACT)
    if unknown is None and wanted == PARENT and step != policies.parent_step:
        return Reason.NOT_PARENT
    return unknown


def _unknown(call: LlmCall, *, scored: bool) -> Reason | None:
    if scored and not call.logprobs:
        return Reason.NO_LOGPROBS
    recorded = [part for part in (call.token_ids, call.tokens, call.token_bytes) if part]
    count = len(call.logprobs) if scored and call.logprobs else None
    if not recorded or any(len(part) != (count or len(recorded[0])) for part in recorded):
        return Reason.NO_TOKEN_IDS
    if call.temperature != 1 or call.top_p != 1:
        # Servers report log-probabilities from before temperature and top_p.
        return Reason.TEMPERED
    return Reason.SHAPED if call.shaped else None
