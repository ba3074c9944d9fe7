"""peft's LoRA layers in fp32: the same sums, in fewer passes over memory.

peft multiplies the adapter's part by its scale and adds it to the layer's, each time into new
memory, and so does the backward pass. Here the last product adds to what is there. On the processor
a pass without gradients takes a tenth less, one with them 4 % (docs/decisions.md).
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.autograd.function import once_differentiable


def add_in_place(network: Any) -> None:
    """Switch the LoRA layers of ``network`` to this; all but one plain adapter is left to peft."""
    for module in network.modules():
        if type(module) is Linear and type(module.base_layer) is torch.nn.Linear:
            module.__class__ = _AddingLinear


class _AddingLinear(Linear):
    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        plain = None if args or kwargs or self.disable_adapters or self.merged else self._plain()
        if plain is None:
            result: torch.Tensor = super().forward(x, *args, **kwargs)
            return result
        down, up, scale = plain
        weight, bias = self.base_layer.weight, self.base_layer.bias
        added: torch.Tensor = _Added.apply(x, weight, bias, down, up, scale)  # type: ignore[no-untyped-call]
        return added

    def _plain(self) -> tuple[torch.Tensor, torch.Tensor, float] | None:
        """Return weights and scale of the adapter in use; None where peft has to compute."""
        if len(self.active_adapters) != 1:
            return None
        (name,) = self.active_adapters
        if name not in self.lora_A or name in self.lora_variant:
            return None
        down: Any = self.lora_A[name]
        up: Any = self.lora_B[name]
        if any(parameter.requires_grad for parameter in self.base_layer.parameters()):
            return None
        dropped = not isinstance(self.lora_dropout[name], torch.nn.Identity)
        if dropped or down.bias is not None or up.bias is not None:
            return None
        return down.weight, up.weight, self.scaling[name]


class _Added(torch.autograd.Function):
    """``x @ weight.T + bias + scale * x @ down.T @ up.T``; weight and bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        states = x.reshape(-1, x.shape[-1])
        inner = states @ down.t()
        made = torch.nn.functional.linear(states, weight, bias)
        made.addmm_(inner, up.t(), alpha=scale)
        ctx.save_for_backward(states, inner, weight, down, up)
        ctx.scale = scale
        return made.view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        states, inner, weight, down, up = ctx.saved_tensors
        slope = gradients[0].reshape(-1, gradients[0].shape[-1])
        through = (slope @ up).mul_(ctx.scale)
        of_x = of_down = of_up = None
        if ctx.needs_input_grad[0]:
            of_x = (slope @ weight).addmm_(through, down)
            of_x = of_x.view(*gradients[0].shape[:-1], weight.shape[1])
        if ctx.needs_input_grad[3]:
            of_down = through.t() @ states
        if ctx.needs_input_grad[4]:
            of_up = (slope.t() @ inner).mul_(ctx.scale)
        return of_x, None, None, of_down, of_up, None
