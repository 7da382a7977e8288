"""From a checkpoint folder to a model on a device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Protocol
from weakref import WeakSet

import numpy as np
import torch

from loopscope.core.checkpoint.devices import DeviceChoice, choose_device, choose_dtype, free_bytes
from loopscope.core.checkpoint.folder import (
    Checkpoint,
    looped_checkpoint,
    open_checkpoint,
)
from loopscope.core.checkpoint.hashing import weights_hash
from loopscope.core.checkpoint.request import LoadRequest, Loop
from loopscope.core.checkpoint.weights import Report, read_weights
from loopscope.core.errors import Cancelled, LoopscopeError, is_out_of_memory
from loopscope.core.labels import size
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.loop_span import renamed_by_loop
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.model.weight_identity import weight_identity
from loopscope.core.prompts.shared import Shared
from loopscope.core.prompts.tokenizer import PromptTokenizer

# A forward on MPS that differs from the CPU's by more than this (float32) is worth a warning.
MPS_TOLERANCE = 1e-3


class Waiting(Protocol):
    """What still has something to ask of a model, in its own time."""

    def make(self) -> None:
        """Ask it now."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model that can be stepped, with all that a run has to say about where it came from.

    weight_identity : digest of each set of weights, by its key in the graph.
    request : what it was loaded by; without a path where an open checkpoint was loaded.
    waiting : what is asked of the model before its weights go.
    """

    checkpoint: Checkpoint
    model: LoopedModel
    tokenizer: PromptTokenizer
    device: DeviceChoice
    dtype: str
    weights_hash: str
    warning: str | None = None
    shared: Shared = field(default_factory=Shared)
    weight_identity: dict[str, str] = field(default_factory=dict)
    request: LoadRequest = field(default_factory=lambda: LoadRequest(""))
    waiting: WeakSet[Waiting] = field(default_factory=WeakSet)

    @property
    def architecture(self) -> Architecture:
        """Return the checkpoint's architecture."""
        return self.checkpoint.architecture

    @property
    def lost(self) -> str:
        """Why it cannot be asked any more: never, it is in this process."""
        return ""

    @property
    def place(self) -> str:
        """The other machine that it is on: none."""
        return ""

    def release(self) -> None:
        """Give the weights' memory back, whoever still holds this; it cannot be run again.

        What waits for the model is made first, as nothing can make it later.
        """
        with ExitStack() as then:
            then.callback(self._free)
            for waiting in tuple(self.waiting):
                then.callback(waiting.make)

    def _free(self) -> None:
        for parameter in self.model.parameters():
            parameter.data = parameter.new_empty(0)

    @property
    def nbytes(self) -> int:
        """Bytes the weights take on the device."""
        unique = {p.data_ptr(): p.numel() * p.element_size() for p in self.model.parameters()}
        return sum(unique.values())


def load(
    path: str, device: str = "auto", dtype: str = "float32", loop: Loop | None = None
) -> Loaded:
    """Load the checkpoint at ``path``; see `LoadRequest` and `load_model`."""
    return load_model(LoadRequest(path, device, dtype, loop))


def load_model(
    request: LoadRequest,
    report: Report = lambda share, doing: None,
    cancelled: Callable[[], bool] = lambda: False,
    make_room: Callable[[], None] = lambda: None,
) -> Loaded:
    """Load what ``request`` names.

    ``report`` gets the share done, 0 to 1, and what is being done. ``make_room`` is called when
    the headers are sound but the weights do not fit beside what is loaded. Raises
    `CheckpointError`, `LoopscopeError` for an unknown device or dtype and for too little memory,
    `Cancelled`.
    """
    choice = choose_device(request.device)
    choose_dtype(request.dtype)
    checkpoint = open_checkpoint(request.path, request.family)
    if request.loop is not None:
        checkpoint = looped_checkpoint(checkpoint, request.loop)
    loaded = load_checkpoint(checkpoint, choice, request.dtype, report, cancelled, make_room)
    return replace(loaded, request=request)


def load_checkpoint(
    checkpoint: Checkpoint,
    choice: DeviceChoice,
    dtype: str = "float32",
    report: Report = lambda share, doing: None,
    cancelled: Callable[[], bool] = lambda: False,
    make_room: Callable[[], None] = lambda: None,
) -> Loaded:
    """Load a checkpoint that has been opened; parameters and errors as of `load_model`."""
    torch_dtype, arch = choose_dtype(dtype), checkpoint.architecture
    tokenizer = PromptTokenizer(
        checkpoint.tokenizer_file,
        arch.vocab_size,
        arch.max_positions,
        arch.prefix,
        arch.prefix_rows,
    )
    _check_room(arch, choice, torch_dtype, make_room)
    try:
        weights = read_weights(checkpoint, choice.device, torch_dtype, report, cancelled)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise _too_little(arch, choice, torch_dtype, None) from error
    model = _assembled(arch, weights)
    report(1.0, "hashing the weights")
    digest = weights_hash(checkpoint, cancelled)
    warning = None if choice.met else f"running on {choice.device.type}: {choice.reason}"
    if choice.device.type == "mps":
        warning = _compare_with_cpu(model, checkpoint) or warning
    if checkpoint.tokenizer_file and tokenizer.problem:
        warning = warning or f"no text prompts: {tokenizer.problem}"
    identity = weight_identity(model)
    return Loaded(
        checkpoint, model, tokenizer, choice, dtype, digest, warning, weight_identity=identity
    )


def _assembled(arch: Architecture, weights: dict[str, torch.Tensor]) -> LoopedModel:
    """A model made of these tensors, none of them copied."""
    with torch.device("meta"):
        model = LoopedModel(arch)
    if arch.tied_head:
        weights["unembed.weight"] = weights["embed.weight"]
    model.load_state_dict(weights, assign=True)
    if arch.tied_head:
        model.unembed.weight = model.embed.weight
    return model.requires_grad_(False).eval()


def relooped(loaded: Loaded, loop: Loop) -> Loaded:
    """Loop another span of the same deep model; the weights are shared, nothing is read again.

    The whole depth with damping 1 is the deep model itself. Raises what `looped_checkpoint` does.
    """
    old = loaded.architecture
    checkpoint = looped_checkpoint(loaded.checkpoint, loop)
    arch = checkpoint.architecture
    names = renamed_by_loop(old, arch)
    weights = {names.get(name, name): t for name, t in loaded.model.state_dict().items()}
    # Another loop is another model: nothing that was found of the old one holds for it.
    model = _assembled(arch, weights)
    identity = weight_identity(model)
    return replace(
        loaded, checkpoint=checkpoint, model=model, shared=Shared(), weight_identity=identity
    )


def _check_room(
    arch: Architecture,
    choice: DeviceChoice,
    dtype: torch.dtype,
    make_room: Callable[[], None],
) -> None:
    """Refuse weights that the device has no room for, before any of them is read."""
    needed = arch.n_parameters * dtype.itemsize
    room = free_bytes(choice.device)
    if room is not None and needed > room:
        make_room()
        room = free_bytes(choice.device)
        if room is not None and needed > room:
            raise _too_little(arch, choice, dtype, room)


def _too_little(
    arch: Architecture, choice: DeviceChoice, dtype: torch.dtype, room: int | None
) -> LoopscopeError:
    name = str(dtype).removeprefix("torch.")
    problem = f"not enough memory: the weights take {size(arch.n_parameters * dtype.itemsize)}"
    problem += f" in {name}"
    if room is not None:
        problem += f", {choice.device.type} has {size(room)} free"
    return LoopscopeError(problem + ("; try bfloat16" if dtype == torch.float32 else ""))


def _compare_with_cpu(model: LoopedModel, checkpoint: Checkpoint) -> str | None:
    """One forward on MPS against the CPU; wrong numbers on MPS have been seen in the wild."""
    tokens = torch.arange(min(16, checkpoint.architecture.vocab_size))[None]
    with torch.inference_mode():
        here = model(tokens.to(next(model.parameters()).device), 2).float().cpu()
        with torch.device("meta"):
            twin = LoopedModel(checkpoint.architecture)
        on_cpu = {k: v.cpu() for k, v in model.state_dict().items()}
        twin.load_state_dict(on_cpu, assign=True)
        there = twin(tokens, 2).float()
    worst = float((here - there).abs().max() / there.abs().max())
    if np.isfinite(worst) and worst <= MPS_TOLERANCE:
        return None
    return f"MPS and CPU logits differ by {worst:.1e} of the largest: do not trust this device"


__all__ = [
    "Cancelled",
    "Loaded",
    "LoopscopeError",
    "Report",
    "load",
    "load_model",
]
