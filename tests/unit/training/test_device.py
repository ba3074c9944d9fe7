"""Which device is chosen, and what one reads where it cannot be used. No card is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from recorded import trainer_settings

from babylon_tasks.errors import BackendUnavailable, SettingsError
from babylon_tasks.settings import checked
from babylon_tasks.training.device import LEAST_FREE_BYTES, Device, choose_device, processor
from babylon_tasks.training.inference.limits import BATCH_TOKENS, batch_tokens
from babylon_tasks.training.lost_device import is_lost

Patch = pytest.MonkeyPatch


def cards(
    patch: Patch, *names: str, capability: tuple[int, int] = (9, 0), free: int = 2**36
) -> None:
    """As if torch saw these cards; what is computed on them stays on the processor."""
    patch.setattr(torch.version, "cuda", "13.0")
    for name, answer in {
        "is_available": lambda: bool(names),
        "device_count": lambda: len(names),
        "get_device_name": lambda number: names[number],
        "get_device_capability": lambda _: capability,
        "mem_get_info": lambda _: (free, 2**37),
        "memory_reserved": lambda _: 0,
        "memory_allocated": lambda _: 0,
    }.items():
        patch.setattr(torch.cuda, name, answer)
    ones = torch.ones
    patch.setattr(torch, "ones", lambda *size, dtype, **_: ones(*size, dtype=dtype))


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_without_a_card_the_processor_computes_as_before(monkeypatch: Patch, wanted: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    device = choose_device(wanted)

    assert device == processor() == Device(torch.device("cpu"), bf16=device.bf16)
    assert not device.on_card
    assert device.free_bytes() is None


def test_auto_takes_the_first_card_and_cpu_leaves_it(monkeypatch: Patch) -> None:
    cards(monkeypatch, "NVIDIA H200", "NVIDIA A100")

    assert str(choose_device("auto")) == "cuda:0 (NVIDIA H200), bf16"
    assert str(choose_device("cuda")) == "cuda:0 (NVIDIA H200), bf16"
    assert str(choose_device("cuda:1")) == "cuda:1 (NVIDIA A100), bf16"
    assert choose_device("cpu") == processor()


def test_log_probabilities_come_from_products_in_fp32_on_a_card(monkeypatch: Patch) -> None:
    cards(monkeypatch, "NVIDIA H200")

    assert choose_device("cuda").exact_head
    assert not processor().exact_head


def test_a_card_that_only_emulates_bf16_computes_in_fp32(monkeypatch: Patch) -> None:
    cards(monkeypatch, "Tesla T4", capability=(7, 5))

    assert str(choose_device("auto")) == "cuda:0 (Tesla T4), fp32"


def test_auto_leaves_a_full_card_to_others_and_says_so(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    cards(monkeypatch, "NVIDIA RTX 3060", free=LEAST_FREE_BYTES - 1)

    assert choose_device("auto") == processor()
    assert "cuda:0 (NVIDIA RTX 3060), bf16 has 6.0 GiB free" in capsys.readouterr().err
    assert choose_device("cuda").on_card  # who insists has it


def test_a_card_that_does_not_work_is_refused_and_auto_does_without(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    cards(monkeypatch, "GeForce GTX 680")

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    monkeypatch.setattr(torch, "ones", broken)

    with pytest.raises(BackendUnavailable, match="no kernel image is available; free it, or"):
        choose_device("cuda")
    assert choose_device("auto") == processor()
    assert "no kernel image" in capsys.readouterr().err


def test_a_card_that_is_not_there_is_refused_with_those_that_are(monkeypatch: Patch) -> None:
    cards(monkeypatch, "NVIDIA H200")

    with pytest.raises(BackendUnavailable) as refusal:
        choose_device("cuda:3")

    assert str(refusal.value) == (
        "BABYLON_TORCH_DEVICE=cuda:3, but torch sees only cuda:0 (NVIDIA H200): choose one of "
        "them, or set BABYLON_TORCH_DEVICE=cpu"
    )


def test_without_any_card_one_reads_where_to_look(monkeypatch: Patch) -> None:
    cards(monkeypatch)

    with pytest.raises(BackendUnavailable, match="sees no NVIDIA card: check `nvidia-smi`") as at:
        choose_device("cuda")
    assert "or set BABYLON_TORCH_DEVICE=cpu" in str(at.value)


def test_a_torch_that_was_built_without_cuda_is_named(monkeypatch: Patch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)

    with pytest.raises(BackendUnavailable, match="needs torch's CUDA build, and this is"):
        choose_device("cuda:0")


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_these_are_devices(wanted: str) -> None:
    assert trainer_settings(Path("nowhere"), torch_device=wanted).torch_device == wanted


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "mps", "cuda:1\n"])
def test_anything_else_is_refused_by_the_settings_name(wanted: str) -> None:
    with pytest.raises(SettingsError, match="BABYLON_TORCH_DEVICE"):
        checked(DATABASE_URL="postgresql://a:b@127.0.0.1/c", torch_device=wanted)


def test_answers_sampled_together_take_at_most_half_of_what_a_card_has_free() -> None:
    assert batch_tokens(None, 46_080) == BATCH_TOKENS
    assert batch_tokens(140 * 2**30, 46_080) == BATCH_TOKENS
    assert batch_tokens(2**30, 46_080) == 2**29 // 46_080


def test_a_card_is_lost_after_an_error_of_cuda_but_not_without_memory() -> None:
    failed = torch.AcceleratorError("CUDA error: device-side assert triggered")
    outer = RuntimeError("sampling failed")
    outer.__cause__ = failed

    assert is_lost(failed)
    assert is_lost(outer)
    assert not is_lost(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_lost(RuntimeError("anything else"))
