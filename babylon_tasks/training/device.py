"""Where the ``cpu`` backend computes: on the processor, or on an NVIDIA card that torch sees."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.training.machine import choose_threads, usable_cores

# Free memory below which ``auto`` leaves a card to whoever uses it. A step of the small model on
# rows of 2,048 tokens took 4.6 GiB (measured); a batch of answers takes what is there (limits.py).
LEAST_FREE_BYTES = 6 * 2**30
_FIRST_WITH_BF16 = (8, 0)  # Ampere's compute capability: earlier cards only emulate it
_OR_CPU = "or set BABYLON_TORCH_DEVICE=cpu"


@dataclass(frozen=True)
class Device:
    """A place to compute, and how: bf16 products where the hardware multiplies bf16.

    Adapter, optimizer state, norms and residual stream are fp32 everywhere. With ``exact_head`` the
    output layer, from which log-probabilities are made, multiplies in fp32 too.
    """

    place: torch.device
    bf16: bool
    exact_head: bool = False
    name: str = "the processor"

    @property
    def on_card(self) -> bool:
        """Whether tensors must be brought to it."""
        return self.place.type != "cpu"

    def precision(self) -> torch.autocast:
        """Make the context in which the network runs."""
        return torch.autocast(self.place.type, dtype=torch.bfloat16, enabled=self.bf16)

    def free_bytes(self) -> int | None:
        """Return how much memory nobody uses, this process included; None on the processor."""
        if not self.on_card:
            return None
        free, _ = torch.cuda.mem_get_info(self.place)
        return (
            free + torch.cuda.memory_reserved(self.place) - torch.cuda.memory_allocated(self.place)
        )

    def __str__(self) -> str:
        """Describe it for people: ``cuda:0 (NVIDIA H200), bf16``."""
        where = f"{self.place} ({self.name})" if self.on_card else str(self.place)
        return f"{where}, {'bf16' if self.bf16 else 'fp32'}"


def processor() -> Device:
    """Return the processor, in bf16 where it multiplies that.

    Products in bf16: 2.5 to 3 times the speed of fp32 where the processor multiplies bf16
    (measured), and much slower elsewhere.
    """
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Device(torch.device("cpu"), bf16=bool(fast))


def choose_device(wanted: str) -> Device:
    """Return the device of ``BABYLON_TORCH_DEVICE``, tried out.

    ``auto`` is the first card where torch sees one that works and has memory to spare, else the
    processor; why a card was left out is printed to standard error. Raises BackendUnavailable where
    a card that was asked for cannot be used.
    """
    if wanted == "cpu":
        return processor()
    if wanted != "auto":
        return _card(wanted)
    if not torch.cuda.is_available():
        return processor()
    try:
        card = _card("cuda:0")
    except BackendUnavailable as error:
        print(f"computing on the processor: {error}", file=sys.stderr, flush=True)
        return processor()
    free = card.free_bytes() or 0
    if free < LEAST_FREE_BYTES:
        what = f"{card} has {free / 2**30:.1f} GiB free, less than {LEAST_FREE_BYTES / 2**30:.0f}"
        print(f"computing on the processor: {what}", file=sys.stderr, flush=True)
        return processor()
    return card


def _card(wanted: str) -> Device:
    place = torch.device(wanted if ":" in wanted else f"{wanted}:0")
    if torch.version.cuda is None:
        raise BackendUnavailable(
            f"BABYLON_TORCH_DEVICE={wanted} needs torch's CUDA build, and this is "
            f"{torch.__version__}: install the one from PyPI (docs/gpu.md), {_OR_CPU}"
        )
    if not torch.cuda.is_available():
        raise BackendUnavailable(
            f"BABYLON_TORCH_DEVICE={wanted}, but torch {torch.__version__} sees no NVIDIA card: "
            "check `nvidia-smi`, that the driver is new enough for CUDA "
            f"{torch.version.cuda}, and that a container is given the card, {_OR_CPU}"
        )
    number = place.index or 0
    if number >= torch.cuda.device_count():
        seen = ", ".join(
            f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())
        )
        raise BackendUnavailable(
            f"BABYLON_TORCH_DEVICE={wanted}, but torch sees only {seen}: choose one of them, "
            f"{_OR_CPU}"
        )
    bf16 = torch.cuda.get_device_capability(number) >= _FIRST_WITH_BF16
    name = torch.cuda.get_device_name(number)
    try:  # a card may be too old for this torch, or reserved by another process
        small = torch.ones((8, 8), device=place, dtype=torch.bfloat16 if bf16 else torch.float32)
        float((small @ small).sum())
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise BackendUnavailable(
            f"BABYLON_TORCH_DEVICE={wanted}: {place} ({name}) cannot compute: {why}; free it, or "
            f"install a torch that supports it, {_OR_CPU}"
        ) from error
    return Device(place, bf16=bf16, exact_head=bf16, name=name)


def use_threads(wanted: int | None) -> tuple[int, str]:
    """Let torch compute with ``BABYLON_TORCH_THREADS`` threads; return their number, and why.

    It is the process's: sampling and training share them.
    """
    threads, why = choose_threads(wanted, usable_cores())
    torch.set_num_threads(threads)
    return threads, why


def described(device: Device) -> str:
    """Describe a device with what it runs on: its memory, torch's version and CUDA's."""
    if not device.on_card:
        return f"{device}; torch {torch.__version__}"
    total = torch.cuda.get_device_properties(device.place).total_memory
    free = device.free_bytes() or 0
    return (
        f"{device}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free; torch {torch.__version__}, "
        f"CUDA {torch.version.cuda}"
    )
