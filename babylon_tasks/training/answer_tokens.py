"""Tokenise recorded answers for a supervised step, as the policy is to give them.

The prompt is rendered as a server renders it, the answer is encoded by itself, as it is sampled,
and ends with the token that ends an assistant's turn. Only answer and end token are trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from msgspec import Struct

from babylon_tasks.dataset.deciding_word import deciding_word
from babylon_tasks.errors import TrainingError
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group, LlmCall
from babylon_tasks.training.inspect_calls import CallRefused
from babylon_tasks.training.token_text import TokenText


class AnswerTokens(Struct, frozen=True):
    """The tokens of one call; ``answer`` contains the end token, and is all that is trained on.

    ``decides``: the first of the answer's tokens that spell which way it bets, and the one behind
    the last; the same place twice where it does not bet.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    decides: tuple[int, int] = (0, 0)

    @property
    def length(self) -> int:
        """The number of all tokens."""
        return len(self.prompt) + len(self.answer)

    def weights(self, decision_weight: float) -> list[float]:
        """Return what each token of the answer counts."""
        first, end = self.decides
        return [decision_weight if first <= n < end else 1.0 for n in range(len(self.answer))]


class AnswerTokenizer:
    """Tokenise with a transformers tokenizer calls of at most ``longest`` tokens."""

    def __init__(self, tokenizer: Any, token_text: TokenText, longest: int) -> None:
        self._tokenizer = tokenizer
        self._token_text = token_text
        self._longest = longest
        self._end = self._end_of_turn()

    def tokenize(self, call: LlmCall) -> AnswerTokens:
        """Tokenise one call; raises CallRefused."""
        messages = [{"role": role, "content": text} for role, text in call.messages]
        try:
            prompt = self._rendered(messages, add_generation_prompt=True)
        except Exception as error:  # a template is a program and may raise anything
            raise CallRefused(Reason.TEMPLATE_ERROR, f"{type(error).__name__}: {error}") from error
        # Text that looks like a special token is text: an answer cannot end its own turn.
        body = self._tokenizer.encode(
            call.response, add_special_tokens=False, split_special_tokens=True
        )
        spelled = self._token_text.text(self._token_text.spell(body))
        if spelled != call.response:
            raise CallRefused(
                Reason.ANSWER_DIFFERS,
                f"the tokenizer makes {spelled[:60]!r} of the answer {call.response[:60]!r}",
            )
        tokens = AnswerTokens(tuple(prompt), (*body, self._end), self._deciding(body, spelled))
        if tokens.length > self._longest:
            raise CallRefused(
                Reason.TOO_LONG,
                f"{len(tokens.prompt)} tokens of prompt and {len(tokens.answer)} of answer; the "
                f"longest row has {self._longest} (BABYLON_PACKED_SEQUENCE_LENGTH)",
            )
        return tokens

    def _deciding(self, body: Sequence[int], text: str) -> tuple[int, int]:
        """Find the tokens that spell the bet's direction."""
        word = deciding_word(text)
        if word is None:
            return (0, 0)
        first, end = (len(text[:place].encode()) for place in word)
        ends = list(accumulate(len(self._token_text.piece(token)) for token in body))
        spells = [n for n, (last, one) in enumerate(zip(ends, body, strict=True))
                  if last > first and last - len(self._token_text.piece(one)) < end]  # fmt: skip
        return (spells[0], spells[-1] + 1) if spells else (0, 0)

    def _end_of_turn(self) -> int:
        """Find the end token that the template puts after an answer."""
        asked = [{"role": "user", "content": "?"}]
        try:
            prompt = self._rendered(asked, add_generation_prompt=True)
            whole = self._rendered([*asked, {"role": "assistant", "content": "!"}])
        except Exception:  # noqa: BLE001  # as above; calls that it rejects are refused one by one
            prompt, whole = [], []
        ends = (token for token in whole[len(prompt) :] if token in self._token_text.ends)
        return next(ends, int(self._tokenizer.eos_token_id))

    def _rendered(self, messages: Sequence[dict[str, str]], **options: bool) -> list[int]:
        found: list[int] = self._tokenizer.apply_chat_template(messages, **options)["input_ids"]
        return found


def tokenize_all(
    tokenizer: AnswerTokenizer,
    groups: Sequence[Group],
    on_answer: Callable[[int, int], None],
) -> list[AnswerTokens]:
    """Tokenise all calls, in order; raises TrainingError where one cannot be learned from.

    ``on_answer`` gets the number of those that are done, and of all.
    """
    found: list[AnswerTokens] = []
    total = sum(len(member.calls) for group in groups for member in group.members)
    for group in groups:
        for member in group.members:
            for index, call in enumerate(member.calls):
                try:
                    found.append(tokenizer.tokenize(call))
                    on_answer(len(found), total)
                except CallRefused as why:
                    raise TrainingError(
                        f"call {index} of trajectory {member.trajectory_id} cannot be learned "
                        f'from: {why}; nothing was trained. Without its row ("isTrainingData" = '
                        "false), or with other hours, the next plan does without it"
                    ) from None
    return found
