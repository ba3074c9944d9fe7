"""Off-policy evaluation on recorded, held-out groups, by teacher forcing: no sampling noise.

For one prompt with recorded answers y and their rewards r(y), the value of a policy is
``sum p(y) r(y) + (1 - sum p(y)) * floor`` over the distinct answers: its expected reward if
every answer that was never given earned the group's lowest reward. That is the direct method of
off-policy evaluation (Dudik et al., 2011) with the most pessimistic model of unseen answers:
it needs no behaviour probabilities, and neither gibberish nor one constant answer can score high.
``coverage`` is ``sum p(y)``: near zero (long free text), the value says little.
``entropy`` is that of the same distribution with all unseen answers as one: a policy that has
settled on one answer has none left, and learns nothing more from what it does.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

from msgspec import Struct

from babylon_tasks.dataset.diversity import says
from babylon_tasks.dataset.manifest import canonical
from babylon_tasks.records import Group, LlmCall, TokenIds
from babylon_tasks.training.child_log import Tracebacks
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import StepValue
from babylon_tasks.training.rebuild_tokens import difference, rebuild
from babylon_tasks.training.rescoring import ROW_TOKENS, Logprobs, PromptAnswer, answer_logprobs

# The gate compares with what served eight promotions before, and steps between were refused.
_STEPS_KNOWN = 16
_TRACEBACKS = Tracebacks()  # into the trainer's log: a template refuses all prompts of a kind

_Asked = tuple[int, PromptAnswer | None]  # a member's place in its group, and one of its calls


class GroupValue(Struct, frozen=True):
    """One group's share of ``StepValue``."""

    value: float
    coverage: float
    entropy: float
    says: dict[str, float]


class ValuesOfSteps:
    """What checkpoints were worth on groups: of those that were evaluated last, a few."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, dict[str, GroupValue]] = OrderedDict()

    def known(self, step: int) -> dict[str, GroupValue]:
        """Return what is known of a checkpoint, by a group's content; it may be added to."""
        found = self._known.setdefault(step, {})
        self._known.move_to_end(step)
        while len(self._known) > _STEPS_KNOWN:
            self._known.popitem(last=False)
        return found

    def forget(self, step: int) -> None:
        """Forget a checkpoint whose weights are discarded: its number will be another's."""
        self._known.pop(step, None)


def step_value(
    policy: Policy,
    step: int,
    groups: Sequence[Group],
    on_group: Callable[[int, int], None] = lambda *_: None,
    known: MutableMapping[str, GroupValue] | None = None,
) -> StepValue:
    """Estimate a checkpoint's value, coverage, entropy per group; raises FileNotFoundError.

    ``on_group`` gets (groups done, groups in all). ``known`` has what these weights were worth on
    groups before, by content, and gets what is computed: most held-out groups come again.
    """
    known = {} if known is None else known
    with policy.at_step(step):
        pass  # raises where it cannot be loaded, whatever is known of it
    contents = [hashlib.sha256(canonical(group)).hexdigest() for group in groups]
    new = {
        content: group
        for content, group in zip(contents, groups, strict=True)
        if content not in known
    }
    for some in _in_rows(policy, new):
        pairs = {one for asked in some.values() for _, one in asked if one is not None}
        found: dict[PromptAnswer, Logprobs] = {}
        for row in answer_logprobs(policy, step, pairs):
            found.update(row)
        for content, asked in some.items():
            known[content] = _group_value(policy, new[content], _totals(new[content], asked, found))
        on_group(sum(content in known for content in contents), len(groups))
    figures = [known[content] for content in contents]
    return StepValue(
        step=step,
        values=tuple(one.value for one in figures),
        coverage=tuple(one.coverage for one in figures),
        entropy=tuple(one.entropy for one in figures),
        says=tuple(one.says for one in figures),
    )


def _in_rows(policy: Policy, groups: Mapping[str, Group]) -> Iterator[dict[str, list[_Asked]]]:
    """Yield groups that fill a row together, by their content, and what each asks a policy."""
    some: dict[str, list[_Asked]] = {}
    size = 0
    for content, group in groups.items():
        asked = _asked(policy, group)
        pairs = {one for _, one in asked if one is not None}
        tokens = sum(map(len, {prompt for prompt, _ in pairs}))
        tokens += sum(len(answer) for _, answer in pairs)
        if some and size + tokens > ROW_TOKENS:
            yield some
            some, size = {}, 0
        some[content] = asked
        size += tokens
    if some:
        yield some


def _group_value(policy: Policy, group: Group, logprobs: Sequence[float]) -> GroupValue:
    """``logprobs`` has one of each member's answers together."""
    floor = min(member.reward for member in group.members)
    # Members that saw the same prompts are alternatives of each other; others are not.
    situations: dict[tuple[tuple[tuple[str, str], ...], ...], list[int]] = {}
    for index, member in enumerate(group.members):
        situations.setdefault(tuple(call.messages for call in member.calls), []).append(index)
    value = coverage = entropy = 0.0
    meant: dict[str, float] = defaultdict(float)
    for indices in situations.values():
        rewards: dict[tuple[object, ...], list[float]] = {}
        probs: dict[tuple[object, ...], float] = {}
        comes_to: dict[tuple[object, ...], str] = {}
        for index in indices:
            member = group.members[index]
            answer = tuple(answer_ids(policy, call) for call in member.calls)
            rewards.setdefault(answer, []).append(member.reward)
            probs[answer] = math.exp(logprobs[index])
            comes_to[answer] = says(member)
        total = sum(probs.values())
        covered = min(1.0, total)
        # An answer cut short at its limit has the probability of all its continuations, so together
        # they may exceed 1.
        shares = {answer: prob / max(1.0, total) for answer, prob in probs.items()}
        expected = sum(
            prob * sum(rewards[answer]) / len(rewards[answer]) for answer, prob in shares.items()
        )
        share = len(indices) / len(group.members)
        for given, prob in shares.items():
            meant[comes_to[given]] += share * prob
        value += share * (expected + (1 - covered) * floor)
        coverage += share * covered
        entropy -= share * sum(p * math.log(p) for p in (*shares.values(), 1 - covered) if p > 0)
    return GroupValue(value, coverage, entropy, dict(meant))


def _asked(policy: Policy, group: Group) -> list[_Asked]:
    """List what each call asks; None in place of what has probability 0 under every checkpoint.

    That is a prompt that the template rejects, or that is too long for the model.
    """
    prompts: dict[tuple[tuple[str, str], ...], TokenIds | None] = {}
    asked: list[_Asked] = []
    for index, member in enumerate(group.members):
        for call in member.calls:
            if call.messages not in prompts:
                prompts[call.messages] = _prompt(policy, call.messages)
            prompt, answer = prompts[call.messages], answer_ids(policy, call)
            fits = prompt and len(prompt) + len(answer) <= policy.longest
            asked.append((index, (prompt, answer) if prompt and fits else None))
    return asked


def _totals(
    group: Group, asked: Sequence[_Asked], logprobs: Mapping[PromptAnswer, Logprobs]
) -> list[float]:
    """Sum the log-probabilities of each member's answers, over its calls."""
    totals = [0.0] * len(group.members)
    for index, pair in asked:
        totals[index] += -math.inf if pair is None else sum(logprobs[pair])
    return totals


def _prompt(policy: Policy, messages: tuple[tuple[str, str], ...]) -> TokenIds | None:
    chat = [{"role": role, "content": text} for role, text in messages]
    try:
        made = policy.tokenizer.apply_chat_template(chat, add_generation_prompt=True)
    except Exception as error:  # noqa: BLE001  # a template is a program: it may refuse some
        _TRACEBACKS.print(error)
        return None
    return tuple(made["input_ids"])


def answer_ids(policy: Policy, call: LlmCall) -> tuple[int, ...]:
    """Return an answer's tokens: as sampled where that is known, else its text tokenised here.

    A held-out question may have been answered by any model: ids of another vocabulary are useless
    here.
    """
    token_text = policy.token_text
    ids = call.token_ids or rebuild(call, token_text)
    if ids and all(map(token_text.contains, ids)) and difference(ids, call, token_text) is None:
        return ids
    text: list[int] = policy.tokenizer.encode(call.response, add_special_tokens=False)
    # An answer that was cut off gets no end token.
    end = [] if call.finish_reason == "length" and text else [policy.tokenizer.eos_token_id]
    return (*text, *end)
