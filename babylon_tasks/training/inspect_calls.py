"""Check that what would be trained on is what was sampled: tokenise each call as ART does.

| reason | the call |
|---|---|
| no_logprobs | lacks a log-probability for each token |
| no_token_ids | has no token ids, and they do not follow from the token texts |
| foreign_token | has an id that the vocabulary lacks |
| answer_differs | has ids that do not spell the recorded answer, or contradict its token count |
| prompt_differs | had a prompt of another length than the template renders from its messages |
| template_changes_answer | would be trained with other tokens around it than when it was sampled |
| template_error | has messages that the template rejects |
| too_long | does not fit into the longest row |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct, structs

from babylon_tasks.dataset.eligibility import EXACT, NONE
from babylon_tasks.decode import bounded
from babylon_tasks.errors import TrainingError
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group, LlmCall, Member, TokenIds
from babylon_tasks.training.art_interface import installed
from babylon_tasks.training.conversations import art_trajectory
from babylon_tasks.training.kept_proofs import KeptProofs
from babylon_tasks.training.protocol import Inspected, Refusal, Weight
from babylon_tasks.training.rebuild_tokens import difference, miscounted, rebuild
from babylon_tasks.training.token_text import TokenText


class CallRefused(Exception):
    """A call must not be trained on; ``reason`` is from the table above, ``detail`` a sentence."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = bounded(detail)


class InspectedCall(Struct, frozen=True):
    """A call with its token ids and their bytes, and the prompt tokens that precede them."""

    call: LlmCall
    prompt: tuple[int, ...]

    @property
    def length(self) -> int:
        """The number of tokens of the call, prompt included."""
        return len(self.prompt) + len(self.call.token_ids or ())


class Inspector:
    """Inspect calls with a transformers tokenizer and the longest row that a step may have.

    ``label`` is that of all calls (``dataset/eligibility.py``); ``kept`` are the proofs of this
    tokenizer that are known already.
    """

    def __init__(
        self,
        tokenizer: Any,
        token_text: TokenText,
        packed_sequence_length: int,
        label: str,
        kept: KeptProofs,
    ) -> None:
        self._tokenizer = tokenizer
        self._token_text = token_text
        self._longest = packed_sequence_length
        self._label = label
        self._kept = kept

    def inspect(
        self, groups: Sequence[Group], on_group: Callable[[int, int], None] | None = None
    ) -> Inspected:
        """Inspect every call of every member; refused calls do not count towards the weights."""
        refusals: list[Refusal] = []
        weights: list[Weight] = []
        for number, group in enumerate(groups):
            lengths = [0]
            for member in group.members:
                for index, call in enumerate(member.calls):
                    try:
                        lengths.append(self.prove(call).length)
                    except CallRefused as why:
                        refusals.append(
                            Refusal(member.trajectory_id, index, why.reason, why.detail)
                        )
            weights.append(Weight(tokens=sum(lengths), longest=max(lengths)))
            if on_group is not None:
                on_group(number + 1, len(groups))
        return Inspected(tuple(refusals), tuple(weights))

    def proofs(
        self, groups: Sequence[Group], on_call: Callable[[int, int], None]
    ) -> list[InspectedCall]:
        """Prove all calls, in order; raises TrainingError where one of them is refused.

        ``on_call`` gets (calls done, calls in all).
        """
        found: list[InspectedCall] = []
        total = sum(len(member.calls) for group in groups for member in group.members)
        for group in groups:
            for member in group.members:
                for index, call in enumerate(member.calls):
                    try:
                        found.append(self.prove(call))
                    except CallRefused as why:
                        raise TrainingError(
                            f"call {index} of trajectory {member.trajectory_id} would not be "
                            f"trained on as it was sampled: {why}; nothing was trained"
                        ) from None
                    on_call(len(found), total)
        return found

    def prove(self, call: LlmCall) -> InspectedCall:
        """Prove that a call would be trained on as it was sampled; raises CallRefused."""
        self._require_readable(call)
        known = self._kept.find(call, self._label)
        prompt, answer = known or self._tokens(call)
        if known is None:
            self._kept.add(call, self._label, prompt, answer)
        if len(prompt) + len(answer) > self._longest:
            raise CallRefused(
                Reason.TOO_LONG,
                f"{len(prompt)} tokens of prompt and {len(answer)} of answer; the longest row has "
                f"{self._longest} (BABYLON_PACKED_SEQUENCE_LENGTH)",
            )
        return InspectedCall(self._with_tokens(call, answer), prompt)

    def _with_tokens(self, call: LlmCall, ids: TokenIds) -> LlmCall:
        pieces = tuple(self._token_text.piece(token) for token in ids)
        return structs.replace(call, token_ids=ids, token_bytes=pieces)

    def _tokens(self, call: LlmCall) -> tuple[TokenIds, TokenIds]:
        """Tokenise a call, whatever its length; returns prompt and answer, or raises."""
        ids = self._ids(call)
        if self._label == EXACT and len(call.logprobs or ()) != len(ids):
            recorded = len(call.logprobs or ())
            raise CallRefused(
                Reason.NO_LOGPROBS, f"{recorded} log-probabilities for {len(ids)} tokens"
            )
        expected = self._prompts(call)
        trained, mask = self._tokenized(self._with_tokens(call, ids))
        start = len(trained) - len(ids)
        as_sampled = trained[start:] == list(ids) and mask == [0] * start + [1] * len(ids)
        if not as_sampled or trained[:start] not in expected:
            decode = self._tokenizer.decode
            raise CallRefused(
                Reason.TEMPLATE_CHANGES_ANSWER,
                f"sampled after {decode(expected[0][-8:])!r}, it would be trained as "
                f"{decode(trained[max(0, start - 8) : start + 8])!r}",
            )
        return tuple(trained[:start]), ids

    def _require_readable(self, call: LlmCall) -> None:
        """Refuse what is too long whatever its tokens are: megabytes take minutes to tokenise."""
        texts = (*(text for _, text in call.messages), call.response)
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        least = -(-size // self._token_text.longest_piece)
        if least > self._longest:
            raise CallRefused(
                Reason.TOO_LONG,
                f"{size} bytes of text, which are {least} tokens at least; the longest row has "
                f"{self._longest} (BABYLON_PACKED_SEQUENCE_LENGTH)",
            )

    def _ids(self, call: LlmCall) -> tuple[int, ...]:
        ids = call.token_ids or rebuild(call, self._token_text)
        if ids is None and self._label == NONE:
            # The sampled tokens are unknown: use the tokenizer's own, without an end token.
            ids = tuple(self._tokenizer.encode(call.response, add_special_tokens=False))
        if not ids:
            texts = call.tokens or call.token_bytes
            known = "ambiguous token texts" if texts else "text"
            raise CallRefused(
                Reason.NO_TOKEN_IDS, f"only the answer's {known} is recorded, no token ids"
            )
        foreign = next((token for token in ids if not self._token_text.contains(token)), None)
        if foreign is not None:
            size = len(self._token_text.pieces)
            raise CallRefused(
                Reason.FOREIGN_TOKEN, f"token {foreign} is not in the model's vocabulary of {size}"
            )
        mismatch = difference(ids, call, self._token_text) or miscounted(
            ids, call, self._token_text
        )
        if mismatch is not None:
            raise CallRefused(Reason.ANSWER_DIFFERS, mismatch)
        return ids

    def _prompts(self, call: LlmCall) -> list[list[int]]:
        """Render the prompts that the server may have made of the messages."""
        messages = [{"role": role, "content": text} for role, text in call.messages]
        prompts: list[list[int]] = []
        for options in self._template_options():
            try:
                prompt = self._tokenizer.apply_chat_template(
                    messages, add_generation_prompt=True, **options
                )["input_ids"]
            except Exception as error:  # a template is a program and may raise anything
                raise CallRefused(
                    Reason.TEMPLATE_ERROR, f"{type(error).__name__}: {error}"
                ) from error
            if prompt not in prompts:
                prompts.append(prompt)
        if self._label == NONE:  # answered by any model, with any template
            return prompts
        if call.prompt_tokens is None:
            return prompts[:1]  # the server's default
        fitting = [prompt for prompt in prompts if len(prompt) == call.prompt_tokens]
        if not fitting:
            lengths = " or ".join(str(len(prompt)) for prompt in prompts)
            raise CallRefused(
                Reason.PROMPT_DIFFERS,
                f"the server counted {call.prompt_tokens} prompt tokens, the template renders "
                f"{lengths} from the recorded messages",
            )
        return fitting

    def _template_options(self) -> list[dict[str, bool]]:
        # The only option that templates share and that ART supports.
        if "enable_thinking" in str(self._tokenizer.chat_template):
            return [{}, {"enable_thinking": True}, {"enable_thinking": False}]
        return [{}]

    def _tokenized(self, call: LlmCall) -> tuple[list[int], list[int]]:
        """Tokenise a call with ART; returns its row and the mask of the trained tokens."""
        from art import trajectories
        from art.preprocessing.tokenize import tokenize_trajectory

        # Only the ids matter here, and without log-probabilities ART leaves an answer out.
        with_logprobs = structs.replace(call, logprobs=(0.0,) * len(call.token_ids or ()))
        trajectory = art_trajectory(Member("", 0.0, (with_logprobs,)))
        history_of: Any = getattr(trajectories, installed().history)
        history = history_of(messages_and_choices=trajectory.messages_and_choices)
        try:
            row = tokenize_trajectory(self._tokenizer, None, history, 1.0, False, trajectory)
        except Exception as error:  # a bug in ART must not refuse other calls
            raise CallRefused(
                Reason.TEMPLATE_CHANGES_ANSWER,
                f"ART cannot locate the answer: {type(error).__name__}: {error}",
            ) from error
        return ([], []) if row is None else (row.token_ids, row.assistant_mask)


def refused(
    groups: Sequence[Group], why: Callable[[LlmCall], tuple[Reason, str] | None]
) -> tuple[Refusal, ...]:
    """Refuse calls without a tokenizer; ``why`` returns reason and detail, or None to accept."""
    return tuple(
        Refusal(member.trajectory_id, index, refusal[0], refusal[1])
        for group in groups
        for member in group.members
        for index, call in enumerate(member.calls)
        if (refusal := why(call)) is not None
    )


def with_calls(groups: Sequence[Group], calls: Iterable[LlmCall]) -> tuple[Group, ...]:
    """Replace the groups' calls, given in order."""
    given = iter(calls)
    return tuple(
        structs.replace(
            group,
            members=tuple(
                structs.replace(member, calls=tuple(next(given) for _ in member.calls))
                for member in group.members
            ),
        )
        for group in groups
    )
