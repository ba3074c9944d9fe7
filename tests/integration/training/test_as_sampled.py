"""From an agent's question to the packed row: what is trained on is what was sampled, or refused.

Answers of many tokens, as any OpenAI client asks for them, go through the recorder, the decoder,
the inspection and a step of the ``cpu`` backend; then ART's packed tensors are read.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import recordings
from documents import ROOT, blocks
from models import save_tiny_model
from openai import OpenAI
from recorded import groups_file, train_request, trainer_settings
from templates import CHATML, LLAMA3, QWEN3, R1, Template

from babylon_tasks.dataset.eligibility import EXACT, PARENT, Policies, label
from babylon_tasks.recorder.recording import Recording
from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.training.packed_rows import packed_answers
from babylon_tasks.training.protocol import Inspected, InspectRequest
from babylon_tasks.training.supervisor import Trainer

# What agents' answers hold that a careless way would lose: spaces in front, line ends, parts of
# emoji, letters of several bytes, braces.
SAYS = (
    ' the Yes No buy sell hold\n\n  {"action": "TRADE",\n\t"amount": 25}\n 🙂 🚀📉 naïve — 日本 '
    "because of it. I think that\n"
)
QUESTIONS = (
    [{"role": "user", "content": "Will ACME close higher?"}],
    [
        {"role": "system", "content": "You trade on prediction markets."},
        {"role": "user", "content": "ACME is down 4%.\nWill it close higher? Answer as JSON."},
    ],
)
ROW = 256


class World:
    """A trainer on a tiny model, the agents that ask it, and what is recorded of them."""

    def __init__(self, folder: Path, template: Template, **how: Any) -> None:
        model = save_tiny_model(folder / "model", template=template, says=SAYS, **how)
        settings = trainer_settings(folder / "data", base_model=str(model))
        self.folder = folder
        self.trainer = Trainer(settings)
        self.client = OpenAI(
            base_url=self.trainer.ready().base_url,
            api_key=settings.inference_api_key.get_secret_value(),
            max_retries=0,
        )

    def close(self) -> None:
        self.client.close()
        self.trainer.close()

    def answers(self, step: int = 0, **asked: Any) -> list[LlmCall]:
        """Calls as they are decoded from what agents have recorded of their answers."""
        calls = []
        for messages in QUESTIONS:
            request = {"temperature": 1.0, "max_tokens": 48, "n": 12, **asked}
            completion = self.client.chat.completions.create(
                model=f"tests@{step}",
                messages=messages,
                **request,  # type: ignore[call-overload]
            )
            calls += [
                recorded(completion, number, messages, request["temperature"])
                for number in range(len(completion.choices))
            ]
        return calls

    def inspect(self, groups: Sequence[Group], label: str = EXACT) -> Inspected:
        return self.trainer.inspect(InspectRequest(groups_file(self.folder, groups), ROW, label))

    def packed(self, groups: Sequence[Group], **fields: Any) -> Counter[tuple[int, ...]]:
        """Train a step on the groups, and say what ART packed for it."""
        from art.preprocessing.pack import packed_tensors_from_dir

        at = self.trainer.backend_step().step
        request = train_request(
            self.folder, groups, base_step=at, packed_sequence_length=ROW, **fields
        )
        trained = self.trainer.train(request)
        tensors = Path(trained.uri).parents[1] / "tensors"
        rows, part = divmod((tensors / "assistant_mask.pt").stat().st_size, ROW)  # a byte a token
        assert not part
        packed = packed_tensors_from_dir(dir=str(tensors), num_sequences=rows, sequence_length=ROW)
        found = Counter(packed_answers(packed))
        shutil.rmtree(tensors)  # ART does not cut files that a step of more rows has left
        assert trained.trainable_tokens == sum(len(answer) * n for answer, n in found.items())
        self.trainer.discard(trained.step)
        return found


def begun() -> Recording:
    """A recording as an agent begins it."""
    facts = {
        "id": "id",
        "trajectory_id": "t",
        "agent_id": "agent",
        "window": "2026-01-31T09:00",
        "scenario_id": None,
        "episode_id": "e",
        "batch_id": None,
        "is_evaluation": False,
        "metadata": {},
    }
    return Recording(facts, datetime(2026, 1, 31, 9, tzinfo=UTC), lambda _: None)


def recorded(completion: Any, number: int, messages: Any, temperature: float) -> LlmCall:
    """One choice, through the recorder's rows and the decoder."""
    recording = begun()
    recording.step().llm_call(
        completion, messages=messages, temperature=temperature, max_tokens=48, choice=number
    )
    return decoded(recording)[0]


def decoded(recording: Recording) -> tuple[LlmCall, ...]:
    """The calls of a recording, once it has been a row of Babylon's."""
    row, _ = recordings.finished(recording)
    return recordings.decoded(row).calls


def grouped(calls: Sequence[LlmCall]) -> list[Group]:
    """One group a question; no two members of one earn the same."""
    by_question: dict[Any, list[LlmCall]] = {}
    for call in calls:
        by_question.setdefault(call.messages, []).append(call)
    return [
        Group(
            "2026-01-31T09:00",
            str(number),
            tuple(Member(f"{number}-{n}", float(n * n), (one,)) for n, one in enumerate(asked)),
        )
        for number, asked in enumerate(by_question.values())
    ]


def sampled(calls: Sequence[LlmCall]) -> Counter[tuple[int, ...]]:
    return Counter(call.token_ids or () for call in calls)


Open = Callable[..., World]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens a world for a template, and keeps one at a time: each holds a trainer."""
    worlds: dict[Any, World] = {}

    def open_(template: Template, **how: Any) -> World:
        key = (template, tuple(how.items()))
        if key not in worlds:
            for other in worlds.values():
                other.close()
            worlds.clear()
            worlds[key] = World(tmp_path_factory.mktemp("world"), template, **how)
        return worlds[key]

    yield open_
    for world in worlds.values():
        world.close()


def test_what_any_client_asks_for_is_packed_token_by_token(opened: Open) -> None:
    world = opened(CHATML)
    calls = [
        *world.answers(logprobs=True, seed=1),
        *world.answers(logprobs=True, seed=2, stop=["\n", " because"]),
        *world.answers(logprobs=True, seed=3, max_tokens=7),
    ]

    reasons = {call.finish_reason for call in calls}
    text = "".join(call.response for call in calls)
    assert reasons == {"stop", "length"}
    assert max(len(call.token_ids or ()) for call in calls) >= 40
    assert {"\n", "🙂", "\ufffd", "ï"} <= set(text)  # a whole emoji, and halves of one
    assert any(call.response.startswith(" ") for call in calls)

    known = Policies(lineage="tests", base_model="tiny", head_step=0, serving_step=0, parent_step=0)
    assert {label(call, known, (EXACT,), max_staleness_steps=0) for call in calls} == {EXACT}
    groups = grouped(calls)
    assert world.inspect(groups).refusals == ()
    assert world.packed(groups) == sampled(calls)


def test_what_is_asked_for_with_nothing_else_is_the_parents_and_packed_as_well(
    opened: Open,
) -> None:
    world = opened(CHATML)
    calls = world.answers(seed=4)
    assert all(call.logprobs is None for call in calls)

    known = Policies(lineage="tests", base_model="tiny", head_step=0, serving_step=0, parent_step=0)
    found = {label(call, known, (EXACT, PARENT), max_staleness_steps=0) for call in calls}
    assert found == {PARENT}
    groups = grouped(calls)
    assert world.inspect(groups, PARENT).refusals == ()
    assert world.packed(groups, logprobs=PARENT) == sampled(calls)


def test_the_documents_example_is_exact_and_packed(opened: Open) -> None:
    world = opened(CHATML)
    here = str(Path(__file__).relative_to(ROOT))
    (example,) = (b for b in blocks(ROOT / "docs/recording.md") if b.executed_by == here)
    recording = begun()
    asked = {"client": world.client, "model": "tests@0", "messages": QUESTIONS[1]}
    for _ in range(2):
        exec(example.text, {**asked, "step": recording.step()})  # noqa: S102

    calls = decoded(recording)

    assert all(call.completion_tokens == len(call.token_ids or ()) for call in calls)
    groups = grouped(calls)
    assert world.inspect(groups).refusals == ()
    assert world.packed(groups) == sampled(calls)


def test_texts_or_bytes_of_tokens_suffice_where_a_server_sends_no_ids(opened: Open) -> None:
    world = opened(CHATML)
    plain = {"return_tokens_as_token_ids": False, "return_token_ids": False}
    with_ids = world.answers(logprobs=True, seed=5)
    calls = world.answers(logprobs=True, seed=5, extra_body=plain)
    assert all(call.token_ids is None for call in calls)
    groups = grouped(calls)

    assert world.inspect(groups).refusals == ()
    assert world.packed(groups) == sampled(with_ids)

    # Without the bytes, a half of an emoji is identified by its text only where no other fits.
    short = world.answers(logprobs=True, seed=5, max_tokens=6, extra_body=plain)
    texts = [msgspec.structs.replace(call, token_bytes=None) for call in short]
    with_ids = world.answers(logprobs=True, seed=5, max_tokens=6)
    refused = world.inspect(grouped(texts)).refusals
    kept = without(texts, refused)
    assert {one.reason for one in refused} <= {"no_token_ids"}
    assert 2 < len(kept) < len(short)
    assert world.packed(grouped(kept)) <= sampled(with_ids)


def without(calls: Sequence[LlmCall], refusals: Sequence[Any]) -> list[LlmCall]:
    """The calls whose members, as ``grouped`` names them, were not refused."""
    refused = {one.trajectory_id for one in refusals}
    return [
        member.calls[0]
        for group in grouped(calls)
        for member in group.members
        if member.trajectory_id not in refused
    ]


def test_llamas_template_is_trained_where_its_vocabulary_keeps_line_ends_together(
    opened: Open,
) -> None:
    world = opened(LLAMA3)
    calls = world.answers(logprobs=True, seed=1)
    groups = grouped(calls)

    assert world.inspect(groups).refusals == ()
    assert world.packed(groups) == sampled(calls)


OFF = {"chat_template_kwargs": {"enable_thinking": False}}


def thinks(call: LlmCall) -> bool:
    return bool(call.token_bytes) and call.token_bytes[0] == b"<think>"  # type: ignore[index]


def test_qwens_template_is_trained_with_a_thought_and_where_thinking_was_switched_off(
    opened: Open,
) -> None:
    world = opened(QWEN3, begins="<think>")
    thinking = [call for call in world.answers(logprobs=True, seed=1) if thinks(call)]
    off = world.answers(logprobs=True, seed=2, extra_body=OFF)
    silent = [call for call in off if not thinks(call)]
    assert min(len(thinking), len(silent)) >= 12

    for calls in (thinking, silent):
        groups = grouped(calls)
        assert world.inspect(groups).refusals == ()
        assert world.packed(groups) == sampled(calls)


def test_qwens_template_refuses_what_would_be_trained_behind_another_thought_than_was_there(
    opened: Open,
) -> None:
    world = opened(QWEN3, begins="<think>")
    on = [call for call in world.answers(logprobs=True, seed=3) if thinks(call)]
    off = world.answers(logprobs=True, seed=4, extra_body=OFF)
    longer = (off[0].prompt_tokens or 0) - (on[0].prompt_tokens or 0)
    assert longer == 4  # an empty thought

    def asked(call: LlmCall, more: int) -> LlmCall:
        prompt = (call.prompt_tokens or 0) + more
        return msgspec.structs.replace(call, prompt_tokens=prompt)

    wrong = [
        *(asked(call, longer) for call in on),  # it thinks though that was switched off
        *(asked(call, -longer) for call in off if not thinks(call)),  # it does not though it may
    ]
    refused = world.inspect(grouped(wrong)).refusals

    assert len(refused) == len(wrong)
    assert {one.reason for one in refused} == {"template_changes_answer"}


def test_the_small_vocabulary_refuses_the_templates_whose_line_ends_it_would_cut_otherwise(
    opened: Open,
) -> None:
    world = opened(dataclasses.replace(LLAMA3, split=None))
    calls = world.answers(logprobs=True, seed=1)

    refused = world.inspect(grouped(calls)).refusals

    assert len(refused) == len(calls)
    assert {one.reason for one in refused} == {"template_changes_answer"}


def test_r1s_template_refuses_by_name_what_was_sampled_behind_a_thought_that_it_takes_away(
    opened: Open,
) -> None:
    world = opened(R1)
    calls = world.answers(logprobs=True, seed=1)

    found = world.inspect(grouped(calls))

    assert len(found.refusals) == len(calls)
    assert {one.reason for one in found.refusals} == {"template_changes_answer"}
    assert "<think>" in found.refusals[0].detail
