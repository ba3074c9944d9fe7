"""LoRA layers that add in place compute what peft's do; what is not plain is left to peft."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from babylon_tasks.training.lora_layers import add_in_place

IN, OUT, RANK = 6, 5, 2


class Network(torch.nn.Module):
    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.first = torch.nn.Linear(IN, OUT, bias=bias)
        self.second = torch.nn.Linear(OUT, OUT, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.second(torch.tanh(self.first(x)))
        return made


def network(*, bias: bool = False, **options: Any) -> Any:
    torch.manual_seed(1)
    config = LoraConfig(r=RANK, lora_alpha=6, target_modules=["first", "second"], **options)
    made: Any = get_peft_model(Network(bias=bias), config)
    made.add_adapter("other", config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    return made


def gradients(made: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    made.zero_grad()
    (made(x) ** 2).sum().backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in made.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(IN,), (3, IN), (2, 3, IN)])
def test_values_and_gradients_are_those_of_peft(*, bias: bool, shape: tuple[int, ...]) -> None:
    by_peft = network(bias=bias)
    ours = copy.deepcopy(by_peft)
    add_in_place(ours)
    mine = torch.randn(shape, requires_grad=True)
    theirs = mine.detach().clone().requires_grad_()

    torch.testing.assert_close(ours(mine), by_peft(theirs))
    torch.testing.assert_close(gradients(ours, mine), gradients(by_peft, theirs))
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_the_adapter_in_use_counts_and_none_where_all_are_off() -> None:
    by_peft, x = network(), torch.randn(3, IN)
    ours = copy.deepcopy(by_peft)
    add_in_place(ours)
    for made in (by_peft, ours):
        made.set_adapter("other")

    torch.testing.assert_close(ours(x), by_peft(x))
    with ours.disable_adapter(), by_peft.disable_adapter():
        plain = ours(x)
        torch.testing.assert_close(plain, by_peft(x))
    assert not torch.allclose(plain, ours(x))


def test_a_merged_adapter_is_not_added_once_more() -> None:
    by_peft, x = network(), torch.randn(3, IN)
    ours = copy.deepcopy(by_peft)
    add_in_place(ours)
    ours.merge_adapter()

    torch.testing.assert_close(ours(x), by_peft(x))


def test_an_empty_batch_has_an_empty_result() -> None:
    ours = network()
    add_in_place(ours)

    assert ours(torch.empty(0, IN)).shape == (0, OUT)


@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"lora_bias": True}, {"lora_dropout": 0.5}]
)
def test_what_is_not_plain_is_left_to_peft(options: dict[str, Any]) -> None:
    by_peft, x = network(**options, bias=True), torch.randn(3, IN)
    ours = copy.deepcopy(by_peft)
    add_in_place(ours)
    results = []
    for made in (by_peft, ours):
        torch.manual_seed(2)  # of the dropout
        results.append(made(x))

    torch.testing.assert_close(*results)


def test_two_adapters_at_once_are_left_to_peft() -> None:
    by_peft, x = network(), torch.randn(3, IN)
    ours = copy.deepcopy(by_peft)
    add_in_place(ours)
    for made in (by_peft, ours):
        made.base_model.set_adapter(["default", "other"])

    torch.testing.assert_close(ours(x), by_peft(x))


def test_an_adapter_that_lacks_a_layer_leaves_it_as_it_is() -> None:
    by_peft, x = network(), torch.randn(3, IN)
    by_peft.add_adapter("first alone", LoraConfig(r=RANK, target_modules=["first"]))
    by_peft.set_adapter("first alone")
    ours = copy.deepcopy(by_peft)
    add_in_place(ours)

    torch.testing.assert_close(ours(x), by_peft(x))
