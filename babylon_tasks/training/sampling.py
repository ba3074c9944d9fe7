"""Sample from a policy: many prompts in one batch, and what begins alike is computed once.

Answers to one prompt share a row of the batch until they differ: as long as the format that they
have learned leaves no choice, a prompt costs what one answer does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from babylon_tasks.training.draw_tokens import draw
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.token_text import TokenText

_SAVED_BY_A_PASS = 256  # tokens: so many are saved before the smallest model is faster for it


@dataclass(frozen=True)
class SamplingRequest:
    """One chat completion request, tokenised. ``temperature`` 0 means the likeliest token."""

    prompt: tuple[int, ...]
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass
class SampledAnswer:
    """One sampled completion; ``token_ids`` include the end token where one was drawn.

    ``logprobs`` are natural logs under the untempered policy, as vLLM reports them. ``text`` is
    without special tokens and ends before a stop string.
    """

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    spelled: bytes = b""
    finish_reason: str = "length"
    done: bool = False


def sample(
    policy: Policy,
    asks: Sequence[SamplingRequest],
    *,
    step: int,
    abandoned: Callable[[int], bool] = lambda _: False,
) -> list[list[SampledAnswer]]:
    """Sample every ask under one checkpoint; answers are in the order of the asks.

    ``abandoned`` says of the ask at a place, before each token, that nobody waits for it: its
    answers end there. Keeps the policy locked for the whole batch. Raises FileNotFoundError for an
    unknown step.
    """
    prompts = list(dict.fromkeys(ask.prompt for ask in asks))  # agents often send the same prompt
    place = policy.device.place
    places = [place for place, ask in enumerate(asks) for _ in range(ask.n)]
    owners = [asks[place] for place in places]
    answers = [SampledAnswer() for _ in owners]
    generators = _generators(asks)
    with policy.at_step(step):
        if all(abandoned(place) for place in range(len(asks))):
            return [[] for _ in asks]
        output, visible = _read(policy, prompts)
        cache = output.past_key_values
        rows_of = {prompt: row for row, prompt in enumerate(prompts)}
        # Of each answer that is not done: its place, and the row that its next token is drawn from.
        alive = list(range(len(owners)))
        rows = [rows_of[owner.prompt] for owner in owners]
        for _ in range(max(ask.max_tokens for ask in asks)):
            log_softmax = torch.log_softmax(output.logits[:, -1].float(), dim=-1)
            # A column that spells nothing is never drawn. What is reported counts it: training
            # computes a token's log-probability over all columns, too.
            drawable = log_softmax
            if len(policy.spare):
                drawable = log_softmax.index_fill(-1, policy.spare, -torch.inf)
            picked = draw(
                drawable,
                rows,
                [owners[who] for who in alive],
                [generators[who] for who in alive],
            )
            logprobs = log_softmax[torch.tensor(rows, device=place), picked].tolist()
            tokens_of = picked.tolist()
            for who, token, logprob in zip(alive, tokens_of, logprobs, strict=True):
                _extend(answers[who], owners[who], token, logprob, policy.token_text)
            gone = {place for place in range(len(asks)) if abandoned(place)}
            kept = [
                number
                for number, who in enumerate(alive)
                if not answers[who].done and places[who] not in gone
            ]
            if not kept:
                break
            # Finished answers leave the batch. Those that have said the same go on in one row.
            beginnings: dict[tuple[int, int], int] = {}
            continued = [
                beginnings.setdefault((rows[number], tokens_of[number]), len(beginnings))
                for number in kept
            ]
            alive, rows = [alive[number] for number in kept], continued
            index = torch.tensor([row for row, _ in beginnings], device=place)
            if index.tolist() != list(range(len(visible))):
                cache.reorder_cache(index)
                visible = visible[index]
            visible = torch.cat([visible, visible.new_ones((len(beginnings), 1))], dim=1)
            output = policy.network(
                input_ids=torch.tensor([[token] for _, token in beginnings], device=place),
                attention_mask=visible,
                position_ids=visible.sum(-1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
    grouped, start = [], 0
    for ask in asks:
        grouped.append(answers[start : start + ask.n])
        start += ask.n
    return grouped


def _read(policy: Policy, prompts: Sequence[tuple[int, ...]]) -> tuple[Any, torch.Tensor]:
    """Compute the prompts; returns the network's output, and which tokens each row attends to.

    What all of them begin with, such as a system prompt, is computed once if that is worth a pass
    of its own.
    """
    place = policy.device.place
    cache = DynamicCache(config=policy.network.config)
    alike = [len(set(column)) == 1 for column in zip(*prompts, strict=False)]
    shared = [*alike[:-1], False].index(False)  # each has a token of its own to go on from
    if shared * (len(prompts) - 1) < _SAVED_BY_A_PASS or not _forgets_nothing(cache):
        shared = 0
    if shared:
        beginning = torch.tensor([prompts[0][:shared]], device=place)
        policy.network(input_ids=beginning, past_key_values=cache, use_cache=True, logits_to_keep=1)
        everyone = torch.zeros(len(prompts), dtype=torch.long, device=place)
        cache.reorder_cache(cast("torch.LongTensor", everyone))
    rests = [prompt[shared:] for prompt in prompts]
    tokens, visible = _left_padded(rests, policy.tokenizer.eos_token_id)
    visible = torch.cat([visible.new_ones((len(prompts), shared)), visible], dim=1).to(place)
    output = policy.network(
        input_ids=tokens.to(place),
        attention_mask=visible,
        position_ids=(visible.cumsum(-1) - 1).clamp(min=0)[:, shared:],
        past_key_values=cache if shared else None,  # else as the model makes it
        use_cache=True,
        logits_to_keep=1,
    )
    return output, visible


def _forgets_nothing(cache: DynamicCache) -> bool:
    """Check that each layer keeps every token by itself, so that padding may stand between them.

    A sliding window counts the padding, and what a recurrent layer keeps has gone through it.
    """
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _left_padded(prompts: Sequence[tuple[int, ...]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(prompt) for prompt in prompts)
    tokens = torch.full((len(prompts), width), pad)
    visible = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt)
        visible[row, width - len(prompt) :] = 1
    return tokens, visible


def _generators(asks: Sequence[SamplingRequest]) -> list[torch.Generator | None]:
    generators: list[torch.Generator | None] = []
    for ask in asks:
        for number in range(ask.n):
            if ask.seed is None:
                generators.append(None)
            else:  # each of the n answers of a seeded request draws from a stream of its own
                seed = (ask.seed * 1009 + number) % 2**63  # torch takes 64 bits, JSON more
                generators.append(torch.Generator().manual_seed(seed))
    return generators


def _extend(
    answer: SampledAnswer, ask: SamplingRequest, token: int, logprob: float, token_text: TokenText
) -> None:
    answer.token_ids.append(token)
    answer.logprobs.append(logprob)
    if token in token_text.ends:
        answer.finish_reason, answer.done = "stop", True
        return
    if token not in token_text.special:
        answer.spelled += token_text.piece(token)
    answer.text = token_text.text(answer.spelled)
    places = [place for word in ask.stop if word and (place := answer.text.find(word)) >= 0]
    if places:
        answer.text = answer.text[: min(places)]
        answer.finish_reason, answer.done = "stop", True
    elif len(answer.token_ids) >= ask.max_tokens:
        answer.done = True
