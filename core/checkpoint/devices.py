"""Which device runs the model, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from loopscope.core.errors import LoopscopeError
from loopscope.core.system import host_free_bytes

WISHES = ("auto", "cuda", "mps", "cpu")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The device in use, what was wished for, and why it is this one."""

    device: torch.device
    wish: str
    reason: str

    @property
    def met(self) -> bool:
        """Whether the wish was met."""
        return self.wish in ("auto", self.device.type)


def available() -> dict[str, str | None]:
    """Return each kind of device with None when it can be used, else the reason why not."""
    cuda = None if torch.cuda.is_available() else "no CUDA device is available to torch"
    mps = None if torch.backends.mps.is_available() else "no MPS device is available to torch"
    return {"cuda": cuda, "mps": mps, "cpu": None}


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be taken on ``device``; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return host_free_bytes()


def choose_device(wish: str = "auto") -> DeviceChoice:
    """Choose CUDA, then MPS, then CPU; a wish that cannot be met falls back and says why.

    Raises `LoopscopeError` for a wish that is none of `WISHES`.
    """
    if wish not in WISHES:
        raise LoopscopeError(f"there is no device '{wish}'; choose {', '.join(WISHES)}")
    reasons = available()
    if wish != "auto" and reasons[wish] is None:
        return DeviceChoice(torch.device(wish), wish, "as asked for")
    best = next(kind for kind, problem in reasons.items() if problem is None)
    if wish == "auto":
        better = [problem for kind, problem in reasons.items() if problem is not None]
        reason = "; ".join(better) if best == "cpu" else "the fastest device here"
    else:
        reason = f"{wish} was asked for, but {reasons[wish]}"
    return DeviceChoice(torch.device(best), wish, reason)


def choose_dtype(name: str) -> torch.dtype:
    """Return the torch dtype called ``name``: float32, bfloat16 or float16.

    Raises `LoopscopeError` for any other.
    """
    if name not in DTYPES:
        raise LoopscopeError(f"there is no dtype '{name}'; choose {', '.join(DTYPES)}")
    return DTYPES[name]
