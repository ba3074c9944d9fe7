"""Which recorded calls the next training step may learn from, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from babylon_tasks.records import LlmCall

NO_LOGPROBS = "no_logprobs"
OTHER_POLICY = "other_policy"
UNKNOWN_STEP = "unknown_policy_step"
STALE = "stale"
FUTURE = "future_policy"

_OURS = re.compile(r"(?:wandb-artifact:///(?:[^/]+/){2})?(?P<name>[^/@:]+)(?:@|:step)(?P<step>\d+)")


class Policies(Struct, frozen=True):
    """What is known of the lineage when a step is planned.

    ``inference_names`` maps the names that agents ask for to steps, step 0 included. ``ages``
    tells how many training steps part a step from the one that is trained on from; what is not
    in it is as old as its number says. What ``serving_step`` wrote is never stale: agents have
    nothing newer to ask.
    """

    lineage: str
    base_model: str
    head_step: int
    inference_names: Mapping[str, int]
    serving_step: int | None = None
    ages: Mapping[int, int] = {}


def policy_step(call: LlmCall, policies: Policies) -> int | str:
    """The lineage's step that produced a call, or the reason why none can be named."""
    known = policies.inference_names.get(call.model)
    if known is not None:
        return known
    if call.model in (policies.base_model, policies.lineage):
        # A name without a step: only what was recorded beside it tells; the base model is step 0.
        if call.policy_step is not None:
            return call.policy_step
        return 0 if call.model == policies.base_model else UNKNOWN_STEP
    match = _OURS.fullmatch(call.model)
    if match is None or match["name"] != policies.lineage:
        return OTHER_POLICY
    return int(match["step"])


def exact(call: LlmCall) -> bool:
    """Whether a call carries one log-probability for each token that it answered with."""
    if not call.logprobs:
        return False
    return all(
        part is None or len(part) == len(call.logprobs) for part in (call.token_ids, call.tokens)
    )


def fault(
    call: LlmCall, policies: Policies, *, max_staleness_steps: int, allow_without_logprobs: bool
) -> str | None:
    """Why a call must be left out of the next step, or None where it may be learned from."""
    step = policy_step(call, policies)
    if isinstance(step, str):
        return step
    if step > policies.head_step:
        return FUTURE
    age = policies.ages.get(step, policies.head_step - step)
    if age > max_staleness_steps and step != policies.serving_step:
        return STALE
    if not exact(call) and not allow_without_logprobs:
        return NO_LOGPROBS
    return None
