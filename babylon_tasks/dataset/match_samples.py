"""Find the capture of a recorded call by the hashes of its texts. Pure.

The agent and the hour decide first: of captures with the same texts those of the same agent in the
same hour, else those of the same agent an hour earlier or later (a decision may cross the hour),
else the same for captures that name no agent. A name that was found in the system prompt and is not
the row's agent counts as none: the prompts are the same. The first of these four that has any is
all that is looked at, even if others have it joined already. Where its free ones differ in
checkpoint or other model, in tokens or parameters, it cannot be known which is the call's, and none
is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from msgspec import UNSET, Struct, structs

from babylon_tasks.dataset.packed_tokens import IDS, LOGPROBS, unpacked
from babylon_tasks.dataset.text_hashes import text_hashes
from babylon_tasks.policy_names import policy_name
from babylon_tasks.records import CallPlace, CapturedSample, LlmCall, TextHashes, Trajectory

_Key = tuple[bytes, bytes, bytes]


class UnsampledCall(Struct, frozen=True, gc=False):
    """A recorded call that lacks how it was sampled."""

    where: CallPlace
    agent_id: str
    texts: TextHashes


class Matches(Struct, frozen=True):
    """The capture of each recorded call, and the calls whose possible captures differ."""

    found: dict[CallPlace, CapturedSample]
    ambiguous: frozenset[CallPlace]


def unsampled_calls(trajectories: Sequence[Trajectory]) -> list[UnsampledCall]:
    """List the calls that record no log-probabilities, or not of which tokens."""
    return [
        UnsampledCall(
            CallPlace(one.trajectory_id, place),
            one.agent_id,
            text_hashes(call.messages, call.response),
        )
        for one in trajectories
        for place, call in enumerate(one.calls)
        if call.carries is None
        and not (call.logprobs and (call.token_ids or call.tokens or call.token_bytes))
    ]


def match_samples(
    window: str,
    wanted: Sequence[UnsampledCall],
    samples: Sequence[CapturedSample],
    taken: Collection[UUID] = (),
) -> Matches:
    """Match recorded calls of a window with captured ones; no captured one is taken twice.

    ``samples`` come in order of time. ``taken`` are in use too, beside those joined already.
    """
    by_texts: dict[_Key, list[CapturedSample]] = defaultdict(list)
    for sample in samples:
        by_texts[sample.system_hash, sample.user_hash, sample.answer_hash].append(sample)
    own: dict[CallPlace, list[CapturedSample]] = defaultdict(list)
    used = set(taken)
    for sample in samples:
        if sample.trajectory_id is not None and sample.place is not None:
            own[CallPlace(sample.trajectory_id, sample.place)].append(sample)
            used.add(sample.capture_id)
    found: dict[CallPlace, CapturedSample] = {}
    ambiguous: set[CallPlace] = set()
    for call in wanted:
        # Babylon may have rewritten the call since: then its capture is of another text.
        mine = next((one for one in own[call.where] if _has(one, call.texts)), None)
        if mine is not None:
            found[call.where] = mine
            continue
        alike = by_texts.get((call.texts.system, call.texts.user, call.texts.answer), [])
        free = [one for one in _nearest(alike, call, window) if one.capture_id not in used]
        if len({_how(one) for one in free}) > 1:
            ambiguous.add(call.where)
        elif free:
            found[call.where] = free[0]
            used.add(free[0].capture_id)
    return Matches(found, frozenset(ambiguous))


def as_sampled(call: LlmCall, sample: CapturedSample) -> LlmCall:
    """Take from the capture how a call was sampled; what was asked and answered stays as recorded.

    Without exact tokens this is which checkpoint answered, or which model of another server, and
    with which parameters. Where they are exact, no parameter shaped them, whatever the record says.
    """
    named = None if sample.step is None else policy_name(sample.lineage, sample.step)
    call = structs.replace(
        call,
        model=named or sample.model or call.model,
        policy_step=sample.step,
        temperature=call.temperature if sample.temperature is None else sample.temperature,
        top_p=call.top_p if sample.top_p is None else sample.top_p,
        carries="tools" if sample.with_tools else call.carries,
        shaped=True if sample.shaped else call.shaped,
    )
    if not sample.exact:
        return call
    return structs.replace(
        call,
        token_ids=unpacked(IDS, sample.token_ids),
        logprobs=unpacked(LOGPROBS, sample.logprobs),
        tokens=None,
        token_bytes=None,
        finish_reason=sample.finish_reason or call.finish_reason,
        prompt_tokens=sample.prompt_tokens or call.prompt_tokens,
        completion_tokens=sample.completion_tokens or call.completion_tokens,
        prompt_ids=unpacked(IDS, sample.prompt_ids) or call.prompt_ids,
        shaped=UNSET,
    )


def _nearest(
    alike: Sequence[CapturedSample], call: UnsampledCall, window: str
) -> list[CapturedSample]:
    own = [one for one in alike if one.agent == call.agent_id]
    nobodys = [
        one
        for one in alike
        if one.agent is None or (one.from_prompt and one.agent != call.agent_id)
    ]
    for of_agent in (own, nobodys):
        in_hour = [one for one in of_agent if one.window_id == window]
        if in_hour or of_agent:
            return in_hour or of_agent
    return []


def _has(sample: CapturedSample, texts: TextHashes) -> bool:
    hashes = (sample.system_hash, sample.user_hash, sample.answer_hash)
    return hashes == (texts.system, texts.user, texts.answer)


def _how(sample: CapturedSample) -> tuple[object, ...]:
    tokens = (sample.exact, sample.token_ids, sample.with_tools)
    return sample.lineage, sample.step, sample.model, *tokens, sample.temperature, sample.top_p
