"""Which backend is chosen, and what ART is handed."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from recorded import IDS, NO, YES, call, group, prompt, trainer_settings

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.training import backends
from babylon_tasks.training.backends import choose
from babylon_tasks.training.conversations import art_groups


def settings(**fields: Any) -> Any:
    return trainer_settings(Path("nowhere"), **{"backend": "auto", **fields})


def installed(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Only these packages can be found."""
    monkeypatch.setattr(
        backends, "find_spec", lambda name: ModuleSpec(name, None) if name in modules else None
    )


def test_a_key_chooses_serverless() -> None:
    assert choose(settings(WANDB_API_KEY="word-of-wandb")) == "serverless"


def test_without_key_and_gpu_the_cpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)

    assert choose(settings()) == "cpu"


def test_a_gpu_is_used_where_its_packages_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/nvidia0")
    installed(monkeypatch, "art", "torch", "unsloth")

    assert choose(settings()) == "local"


def test_a_gpu_without_its_packages_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/nvidia0")
    installed(monkeypatch, "art", "torch", "transformers", "peft", "uvicorn")

    assert choose(settings()) == "cpu"


@pytest.mark.parametrize("name", ["cpu", "serverless"])
def test_the_setting_overrules_what_is_there(name: str) -> None:
    assert choose(settings(backend=name, WANDB_API_KEY="word-of-wandb")) == name


@pytest.mark.parametrize(
    ("name", "present", "missing", "extra"),
    [
        ("cpu", ["art", "torch", "uvicorn"], "transformers, peft", "cpu"),
        ("local", ["art", "torch"], "unsloth", "gpu"),
        ("serverless", ["art"], "wandb", "train"),
        ("cpu", [], "art, torch, transformers, peft, uvicorn", "cpu"),
    ],
)
def test_missing_packages_are_reported_with_the_extra_that_has_them(
    monkeypatch: pytest.MonkeyPatch, name: str, present: list[str], missing: str, extra: str
) -> None:
    installed(monkeypatch, *present)

    with pytest.raises(BackendUnavailable) as refusal:
        choose(settings(backend=name, WANDB_API_KEY="word-of-wandb"))

    assert str(refusal.value) == (f"backend {name} needs {missing}; install babylon-tasks[{extra}]")


@pytest.fixture(autouse=True)
def _no_price_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import art` must not ask the network for the prices of models."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


def answers(one: Any) -> list[Any]:
    """The last message of each history of a trajectory."""
    histories = [one, *one.additional_histories]
    return [history.messages_and_choices[-1] for history in histories]


def test_token_ids_and_log_probabilities_arrive_exactly() -> None:
    [made] = art_groups([group([(call(YES, logprobs=(-0.7, -0.1)), 0.8), (call(NO), 0.2)])])

    [choice] = answers(made.trajectories[0])
    assert [token.token for token in choice.logprobs.content] == ["token_id:10539", "token_id:2"]
    assert [token.logprob for token in choice.logprobs.content] == [-0.7, -0.1]
    assert choice.message.content == YES
    assert [one.reward for one in made.trajectories] == [0.8, 0.2]
    assert [one.metadata["trajectory_id"] for one in made.trajectories] == ["market-0", "market-1"]


@pytest.mark.parametrize(
    ("recorded", "passed_on"),
    [("stop", "stop"), ("length", "length"), (None, "stop"), ("eos_token", "stop")],
)
def test_what_was_cut_off_is_passed_on_as_cut_off(recorded: str | None, passed_on: str) -> None:
    [made] = art_groups([group([(call(YES, finish_reason=recorded), 1.0)])])

    [choice] = answers(made.trajectories[0])
    assert choice.finish_reason == passed_on


@pytest.mark.parametrize(
    ("parts", "bytes_"),
    [
        ({"token_bytes": (b"<think>", b"<|im_end|>")}, list(b"<think>")),
        ({"tokens": ("<think>", "<|im_end|>")}, list(b"<think>")),
        ({"token_bytes": (b"\xf0\x9f", b"<|im_end|>")}, None),  # ART would break over it
        ({}, None),
    ],
)
def test_art_is_shown_where_an_answer_begins_with_a_thought(
    parts: dict[str, Any], bytes_: list[int] | None
) -> None:
    [made] = art_groups([group([(call(YES, **parts), 1.0)])])

    [choice] = answers(made.trajectories[0])
    assert choice.logprobs.content[0].bytes == bytes_


def test_each_call_is_a_history_of_its_own_with_its_own_prompt() -> None:
    asked = ("First?", "Second?", "Third?")

    [made] = art_groups([group([([call(YES, question) for question in asked], 1.0)])])

    [trajectory] = made.trajectories
    histories = [trajectory, *trajectory.additional_histories]
    assert len(histories) == 3
    for question, history in zip(asked, histories, strict=True):
        *messages, choice = history.messages_and_choices
        assert [(m["role"], m["content"]) for m in messages] == list(prompt(question))
        assert choice.message.content == YES


def test_log_probabilities_that_do_not_fit_the_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        art_groups([group([(call(YES, logprobs=(-0.7,) * (len(IDS[YES]) + 1)), 1.0)])])


def test_groups_stay_apart_and_in_order() -> None:
    made = art_groups([group([(call(YES), 1.0)], key) for key in ("b", "a", "c")])

    names = [one.metadata["trajectory_id"] for each in made for one in each.trajectories]
    assert names == ["b-0", "a-0", "c-0"]


@pytest.mark.parametrize(
    ("card", "present", "fields", "expected"),
    [
        (False, (), {}, ("cpu", "no W&B key and no NVIDIA card")),
        (True, (), {}, ("cpu", "no unsloth, which backend local needs; cpu uses the card")),
        (True, ("unsloth",), {}, ("local", "an NVIDIA card and unsloth")),
        (True, ("unsloth",), {"WANDB_API_KEY": "word-of-wandb"}, ("serverless", "a W&B key")),
        (True, ("unsloth",), {"backend": "cpu"}, ("cpu", "BABYLON_BACKEND=cpu")),
    ],
)
def test_the_choice_says_why(
    monkeypatch: pytest.MonkeyPatch,
    card: bool,
    present: tuple[str, ...],
    fields: dict[str, str],
    expected: tuple[str, str],
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: card and str(path) == "/dev/nvidia0")
    installed(monkeypatch, "art", "torch", "transformers", "peft", "uvicorn", "wandb", *present)

    name, why = backends.choose_and_explain(settings(**fields))

    assert name == expected[0]
    assert expected[1] in why
