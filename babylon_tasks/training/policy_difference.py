"""Prove that a step has moved the weights where only the policy's answers are at hand, as at W&B.

Parent and checkpoint are asked in turn, several times each, how probable which first token is after
a few prompts. A server computes in few ways, which depend on what else it computes: the same
weights give the very same numbers again and again, others never, however little they have moved.
Where no answer is ever the same as another, their means are compared with their noise.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from statistics import fmean, mean, variance
from typing import Any

from msgspec import Struct

from babylon_tasks import step_metrics
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.records import Group

Distribution = dict[str, float]  # the most probable first tokens, and their log-probabilities
Messages = tuple[tuple[str, str], ...]
Ask = Callable[[str, Messages], Awaitable[Distribution]]  # a policy's name, a prompt

PROMPTS = 8
ASKS = 3  # of each policy after each prompt, at the least
MOST_ASKS = 12  # while neither is sure
TOP = 20  # tokens: as many as OpenAI's interface and vLLM's default allow
PATIENCE = 300.0  # seconds for all of it; a policy that nobody has asked yet is loaded first
_NOISES = 1.6  # a difference counts where it is more than this many standard errors
_SAME = 1e-5  # nats: what fp32 makes of the same log-probabilities
_FINE = 5e-3  # nats: a step that shows nothing with less noise than this has taught nothing
# For a job whose groups are gone when it is followed.
_THINGS = ("number", "town", "colour", "river", "market", "company", "date", "price")
_ANY = tuple((("user", f"Name a {thing}."),) for thing in _THINGS)

UNPROVEN = {step_metrics.PROVEN: 0.0}  # what is known of a step whose policies nobody could ask


class Difference(Struct, frozen=True):
    """Parent and checkpoint compared over ``tokens`` tokens, in nats.

    ``moved`` is the root mean square of how far the means of their log-probabilities lie apart,
    ``noise`` that of the standard error of this, from the answers that one policy gave to the same
    prompt. ``alike`` counts prompts to which both gave the very same answer, ``distinct`` those to
    which each gave one of its own again and again.
    """

    moved: float
    noise: float
    tokens: int
    alike: int = 0
    distinct: int = 0

    @property
    def proven(self) -> bool | None:
        """Whether the weights have moved; None where the answers show neither."""
        if self.alike > 0:
            return self.distinct > self.alike
        if self.moved > _SAME and (self.distinct or self.moved > _NOISES * self.noise):
            return True
        return False if self.noise < _FINE else None

    @property
    def sure(self) -> bool:
        """Whether further answers could not change what is proven."""
        return self.alike > 0 or self.proven is True

    def unmoved(self) -> str | None:
        """Say why the weights count as not moved; None where they have, or may have."""
        if self.proven is not False:
            return None
        return (
            f"asked for {self.tokens} tokens after the same prompts, checkpoint and parent differ "
            f"by {self.moved:.1e} nats, with a noise of {self.noise:.1e}"
        )

    def metrics(self) -> dict[str, float]:
        """Name what was measured as it is stored with the step; ``policy/proven`` is 1 or 0."""
        return {
            step_metrics.PROVEN: float(self.proven is True),
            step_metrics.MOVED: self.moved,
            step_metrics.NOISE: self.noise,
            "policy/compared_tokens": float(self.tokens),
        }


def compare(answers: Sequence[tuple[Sequence[Distribution], Sequence[Distribution]]]) -> Difference:
    """Compare the answers of parent and checkpoint, prompt by prompt. PURE.

    A token that is not among an answer's most probable counts as probable as the last of them,
    which it is at most: what is found is never more than there is.
    """
    apart: list[float] = []
    errors: list[float] = []
    alike = distinct = 0
    for parent, child in answers:
        common = any(one in child for one in parent)
        alike += common
        distinct += not common and all(map(_repeats, (parent, child)))
        for token in {token for one in (*parent, *child) for token in one}:
            before, after = (
                [one.get(token, min(one.values())) for one in asked] for asked in (parent, child)
            )
            apart.append((mean(after) - mean(before)) ** 2)  # exactly: 0 of equal answers
            errors.append(sum(variance(values) / len(values) for values in (before, after)))
    moved, noise = (math.sqrt(fmean(values)) for values in (apart, errors))
    return Difference(moved, noise, len(apart), alike, distinct)


def _repeats(asked: Sequence[Distribution]) -> bool:
    return any(one in asked[:n] for n, one in enumerate(asked))


def prompts_of(groups: Sequence[Group]) -> list[Messages]:
    """Choose prompts of the step, of different groups first; any at all where it has none."""
    calls = [
        (depth, call.messages)
        for group in groups
        for depth, call in enumerate(call for member in group.members for call in member.calls)
    ]
    ordered = sorted(calls, key=lambda one: one[0])
    return list(dict.fromkeys(messages for _, messages in ordered))[:PROMPTS] or list(_ANY)


async def measure(
    ask: Ask, prompts: Sequence[Messages], *, parent: str, child: str, on_answer: Callable[[], None]
) -> Difference:
    """Ask both policies; raises TrainingError, the environment's fault, without enough answers."""
    answers: list[tuple[list[Distribution], list[Distribution]]] = [([], []) for _ in prompts]
    try:
        async with asyncio.timeout(PATIENCE):
            for asks in range(1, MOST_ASKS + 1):
                for asked, prompt in zip(answers, prompts, strict=True):
                    # In turn, so that what changes with time is noise, too.
                    for of_one, name in zip(asked, (parent, child), strict=True):
                        of_one.append(await ask(name, prompt))
                        on_answer()
                if asks >= ASKS and compare(answers).sure:
                    break
    except Exception as error:
        fault = fault_of(error)
        raise TrainingError(
            f"whether the weights of {child} have moved could not be asked: "
            f"{type(error).__name__}: {error}; its job has ended and is not paid for again, the "
            "step goes on once the inference endpoint answers",
            fault=Fault.SERVICE_REFUSES if fault is Fault.WINDOW else fault,
        ) from error
    return compare(answers)


def asking(client: Any) -> Ask:
    """Ask through OpenAI's client, at temperature 1: at 0 a server may report a certainty."""

    async def ask(name: str, messages: Messages) -> Distribution:
        answer = await client.chat.completions.create(
            model=name,
            messages=[{"role": role, "content": text} for role, text in messages],
            max_tokens=1,
            temperature=1.0,
            logprobs=True,
            top_logprobs=TOP,
        )
        return _distribution(answer)

    return ask


def _distribution(answer: Any) -> Distribution:
    choice = answer.choices[0] if answer.choices else None
    content = choice.logprobs.content if choice is not None and choice.logprobs is not None else ()
    listed = content[0].top_logprobs if content else ()
    found: dict[str, list[float]] = {}
    for one in listed or ():
        if one.logprob is not None and math.isfinite(one.logprob):
            # Parts of a character have the same text, and their bytes tell them apart.
            found.setdefault(f"{one.token} {one.bytes}", []).append(one.logprob)
    distribution = {token: values[0] for token, values in found.items() if len(values) == 1}
    if not distribution:
        raise TrainingError(
            "the inference endpoint answered without `top_logprobs`, or these without `logprob`",
            fault=Fault.SERVICE_REFUSES,
        )
    return distribution
