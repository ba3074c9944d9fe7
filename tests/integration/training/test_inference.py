"""The endpoint of a running trainer, asked by OpenAI's own client and by ART's."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import OpenAI
from openai.types import Model
from openai.types.chat import ChatCompletion
from recorded import NO, QUESTION, SECRETS, call, group, many, train_request

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.settings import Settings
from babylon_tasks.training.inference.server import InferenceServer
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.supervisor import Trainer

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
KEY = SECRETS["BABYLON_INFERENCE_API_KEY"]


def _without_special(text: str) -> str:
    return re.sub(r"<\|?[a-z_]+\|?>", "", text)


@pytest.fixture(scope="module")
def learned(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A checkpoint trained so hard that it cannot be mistaken for the base model."""
    folder, base = tmp_path_factory.mktemp("groups"), trainer.backend_step().step
    request = train_request(folder, many(6), base_step=base, parent_step=0, learning_rate=0.1)
    trained = trainer.train(request)
    yield trained.step
    trainer.discard(trained.step)


@pytest.fixture
def client(trainer: Trainer) -> Iterator[OpenAI]:
    with OpenAI(base_url=trainer.ready().base_url, api_key=KEY, max_retries=0) as opened:
        yield opened


@pytest.fixture
def ask(client: OpenAI) -> Callable[..., ChatCompletion]:
    """``ask(n=2)``: the question put to the base model."""

    def asked(**fields: Any) -> ChatCompletion:
        return client.chat.completions.create(
            **{"model": "tests@0", "messages": MESSAGES, "max_tokens": 4, **fields}
        )

    return asked


def test_n_answers_come_with_log_probabilities_token_ids_and_usage_unasked(
    ask: Callable[..., ChatCompletion],
) -> None:
    reply = ask(n=3, logprobs=True)

    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.model == "tests@0"
    assert "prompt_token_ids" not in (reply.model_extra or {})
    spent = 0
    for choice in reply.choices:
        assert choice.logprobs is not None
        content = choice.logprobs.content or []
        ids = (choice.model_extra or {})["token_ids"]
        assert [token.token for token in content] == [f"token_id:{number}" for number in ids]
        assert all(token.logprob < 0 for token in content)
        assert choice.finish_reason in ("stop", "length")
        spent += len(ids)
    assert reply.usage is not None
    assert reply.usage.completion_tokens == spent
    assert reply.usage.prompt_tokens > 20
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + spent


def test_log_probabilities_come_only_on_request_and_ids_always(
    ask: Callable[..., ChatCompletion],
) -> None:
    without_logprobs, with_logprobs = ask(temperature=0), ask(temperature=0, logprobs=True)

    assert without_logprobs.choices[0].logprobs is None
    assert with_logprobs.choices[0].logprobs is not None
    [ids, same] = [
        (one.choices[0].model_extra or {})["token_ids"] for one in (without_logprobs, with_logprobs)
    ]
    assert ids == same


def test_tokens_come_as_text_and_ids_not_at_all_where_that_is_asked_for(
    ask: Callable[..., ChatCompletion],
) -> None:
    plain = {"return_tokens_as_token_ids": False, "return_token_ids": False}
    reply = ask(temperature=0, logprobs=True, extra_body=plain)

    [choice] = reply.choices
    assert choice.logprobs is not None
    words = "".join(token.token for token in choice.logprobs.content or [])
    assert words == choice.message.content
    assert "token_ids" not in (choice.model_extra or {})


def test_the_prompts_ids_come_on_request(ask: Callable[..., ChatCompletion]) -> None:
    reply = ask(extra_body={"return_token_ids": True})

    assert reply.usage is not None
    assert len((reply.model_extra or {})["prompt_token_ids"]) == reply.usage.prompt_tokens


def test_the_bytes_of_the_tokens_are_those_of_the_answer_whatever_it_says(
    ask: Callable[..., ChatCompletion],
) -> None:
    # A model of random weights says half an emoji now and then, and never in the same place.
    reply = ask(n=16, seed=3, max_tokens=40, logprobs=True)

    for choice in reply.choices:
        assert choice.logprobs is not None
        content = choice.logprobs.content or []
        spelled = b"".join(bytes(token.bytes or ()) for token in content)
        assert _without_special(spelled.decode("utf-8", "replace")) == choice.message.content


def test_a_message_with_tool_calls_is_refused_not_cut(ask: Callable[..., ChatCompletion]) -> None:
    called = {"id": "c", "type": "function", "function": {"name": "buy", "arguments": "{}"}}
    messages = [*MESSAGES, {"role": "assistant", "content": "", "tool_calls": [called]}]

    with pytest.raises(openai.BadRequestError, match="tool_calls"):
        ask(messages=messages)


def test_a_seed_gives_the_same_answers_and_the_limit_holds(
    ask: Callable[..., ChatCompletion],
) -> None:
    def drawn(seed: int) -> list[str | None]:
        return [c.message.content for c in ask(n=2, seed=seed, max_tokens=6).choices]

    assert drawn(7) == drawn(7) != drawn(8)
    assert ask(max_completion_tokens=2).usage.completion_tokens <= 2  # type: ignore[union-attr]


def test_the_model_list_names_the_base_model_and_every_checkpoint(
    client: OpenAI, learned: int, worker_settings: Settings
) -> None:
    [checkpoints] = worker_settings.data_dir.glob("*/models/tests/checkpoints")
    no_number = checkpoints / "²"  # but a digit
    no_number.mkdir()
    listed = [model.id for model in client.models.list()]
    no_number.rmdir()

    assert listed[0] == "tests@0"
    assert f"tests@{learned}" in listed
    assert len(listed) == len(set(listed))


def test_a_checkpoint_is_served_by_name_and_step_zero_stays_the_base_model(
    ask: Callable[..., ChatCompletion], learned: int, value: Callable[..., float]
) -> None:
    def likeliest(step: int) -> tuple[str, tuple[int, ...], float]:
        reply = ask(
            model=f"tests@{step}",
            temperature=0,
            logprobs=True,
            max_tokens=2,
        )
        [choice] = reply.choices
        assert choice.logprobs is not None
        logprobs = [token.logprob for token in choice.logprobs.content or []]
        ids = tuple((choice.model_extra or {})["token_ids"])
        return choice.message.content or "", ids, math.exp(sum(logprobs))

    before, trained, after = likeliest(0), likeliest(learned), likeliest(0)

    assert before == after
    assert trained[0] != before[0]
    # Evaluation, by teacher forcing, says the same of what each of the two would answer.
    for answer, ids, chance, step in ((*before, 0), (*trained, learned)):
        recorded = call(
            answer, messages=(("user", QUESTION),), token_ids=ids, finish_reason="length"
        )
        other = call(NO, messages=recorded.messages)
        assert value(step, group([(recorded, 1.0), (other, 0.0)])) == pytest.approx(chance, rel=0.1)


def test_a_wrong_key_is_refused(trainer: Trainer) -> None:
    for key in ("wrong", KEY + "x"):
        with (
            OpenAI(base_url=trainer.ready().base_url, api_key=key, max_retries=0) as stranger,
            pytest.raises(openai.AuthenticationError, match="BABYLON_INFERENCE_API_KEY") as refusal,
        ):
            stranger.models.list()
        assert KEY not in str(refusal.value)


def test_one_model_is_described_where_it_can_be_asked(client: OpenAI, learned: int) -> None:
    found = client.models.retrieve(f"tests@{learned}")
    assert found.id == f"tests@{learned}"
    for one in (found, *client.models.list()):  # the client itself takes what lacks a field
        Model.model_validate(one.to_dict())
    with pytest.raises(openai.NotFoundError, match="tests@99"):
        client.models.retrieve("tests@99")


@pytest.mark.parametrize("model", ["tests@99", "other@0", "tests", "tests@", "tests@-1", "tests@²"])
def test_an_unknown_model_is_not_found(ask: Callable[..., ChatCompletion], model: str) -> None:
    with pytest.raises(openai.NotFoundError, match="/v1/models"):
        ask(model=model)


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"tools": [{"type": "function", "function": {"name": "buy"}}]},
        {"messages": []},
        {"n": 65},
        {"n": 0},
        {"temperature": -1},
        {"max_tokens": 5000},
        {"logprobs": True, "top_logprobs": 5},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_what_cannot_be_honoured_is_refused(
    ask: Callable[..., ChatCompletion], fields: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(**fields)


def test_a_prompt_beyond_the_limit_is_refused_with_the_numbers(
    ask: Callable[..., ChatCompletion],
) -> None:
    with pytest.raises(openai.BadRequestError, match=r"the prompt has \d+ tokens, the limit is"):
        ask(messages=[{"role": "user", "content": "word " * 3000}])


def test_64_agents_that_ask_at_once_get_their_own_answers(
    ask: Callable[..., ChatCompletion],
) -> None:
    def one(number: int) -> tuple[str | None, int]:
        content = f"Agent {number % 8}: {QUESTION}"
        reply = ask(
            messages=[{"role": "user", "content": content}], temperature=0, max_tokens=8, n=1
        )
        assert reply.usage is not None
        return reply.choices[0].message.content, reply.usage.prompt_tokens

    with ThreadPoolExecutor(64) as agents:
        replies = list(agents.map(one, range(64)))

    by_question = [set(replies[number::8]) for number in range(8)]
    assert [len(answers) for answers in by_question] == [1] * 8


def test_a_bad_request_does_not_spoil_those_that_came_with_it(
    ask: Callable[..., ChatCompletion],
) -> None:
    def one(number: int) -> int:
        fields = {"seed": 10**40} if number == 0 else {"temperature": 1e-40 if number == 1 else 1}
        return len(ask(n=2, **fields).choices)

    with ThreadPoolExecutor(8) as agents:
        assert list(agents.map(one, range(8))) == [2] * 8


def test_arts_own_client_reaches_a_checkpoint(
    trainer: Trainer, worker_settings: Settings, learned: int
) -> None:
    from art import TrainableModel

    async def asked() -> tuple[Any, list[str]]:
        model = TrainableModel(
            name="tests", project="babylon", base_model=worker_settings.base_model
        )
        # What model.register() would fill in; the trainer process has registered the model.
        model.inference_base_url = trainer.ready().base_url
        model.inference_api_key = KEY
        client = model.openai_client()
        try:
            reply = await client.chat.completions.create(
                model=f"tests@{learned}", messages=MESSAGES, max_tokens=2, n=2, logprobs=True
            )
            return reply, [model.id async for model in client.models.list()]
        finally:
            await client.close()

    reply, models = asyncio.run(asked())

    assert len(reply.choices) == 2
    assert reply.choices[0].logprobs.content[0].logprob <= 0
    assert f"tests@{learned}" in models


@pytest.fixture
def server(policy: Policy) -> Iterator[InferenceServer]:
    """An endpoint in this process, for what the running trainer must not be put through."""
    made = InferenceServer(policy, "tests", host="127.0.0.1", port=0, api_key="key")
    made.start()
    yield made
    made.stop()


def test_a_server_listens_from_the_moment_it_has_started(server: InferenceServer) -> None:
    socket.create_connection(("127.0.0.1", server.port), timeout=10).close()


def test_a_broken_checkpoint_is_an_error_for_those_who_ask_it_alone(
    server: InferenceServer, policy: Policy
) -> None:
    folder = policy.adapter_dir(3)
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"cut off")
    address = f"http://127.0.0.1:{server.port}/v1"
    with OpenAI(base_url=address, api_key="key", max_retries=0, timeout=30) as client:

        def one(step: int) -> ChatCompletion:
            return client.chat.completions.create(
                model=f"tests@{step}", messages=MESSAGES, max_tokens=2
            )

        with ThreadPoolExecutor(2) as agents:
            broken, sound = agents.submit(one, 3), agents.submit(one, 0)
            with pytest.raises(openai.InternalServerError, match="checkpoint 3"):
                broken.result()
            assert len(sound.result().choices) == 1
        assert len(one(0).choices) == 1
    shutil.rmtree(folder)


def test_a_taken_port_is_reported_with_the_setting_to_change(
    trainer: Trainer, policy: Policy
) -> None:
    port = urlsplit(trainer.ready().base_url).port
    assert port is not None
    second = InferenceServer(policy, "tests", host="127.0.0.1", port=port, api_key="key")

    with pytest.raises(BackendUnavailable, match="BABYLON_INFERENCE_PORT"):
        second.start()
