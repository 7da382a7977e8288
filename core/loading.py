"""From a checkpoint folder to a model on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from loopscope.core.architecture import Architecture
from loopscope.core.checkpoint import Checkpoint, looped_checkpoint, open_checkpoint, weights_hash
from loopscope.core.devices import DeviceChoice, choose_device, choose_dtype
from loopscope.core.errors import Cancelled, CheckpointError, LoopscopeError
from loopscope.core.model import LoopedModel
from loopscope.core.tokenizer import PromptTokenizer

# A forward on MPS that differs from the CPU's by more than this (float32) is worth a warning.
MPS_TOLERANCE = 1e-3

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model that can be stepped, with all that a run has to say about where it came from."""

    checkpoint: Checkpoint
    model: LoopedModel
    tokenizer: PromptTokenizer
    device: DeviceChoice
    dtype: str
    weights_hash: str
    warning: str | None = None

    @property
    def architecture(self) -> Architecture:
        """Return the checkpoint's architecture."""
        return self.checkpoint.architecture

    @property
    def nbytes(self) -> int:
        """Bytes the weights take on the device."""
        unique = {p.data_ptr(): p.numel() * p.element_size() for p in self.model.parameters()}
        return sum(unique.values())


def package_version() -> str:
    """Return Loopscope's version; "unknown" when it runs from a tree that is not installed."""
    try:
        return version("loopscope")
    except PackageNotFoundError:
        return "unknown"


def load(
    path: str,
    device: str = "auto",
    dtype: str = "float32",
    loop: tuple[int, int, float] | None = None,
    report: Report = lambda share, what: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Loaded:
    """Load the checkpoint at ``path`` (a folder or ``bundled:NAME``).

    ``loop`` = (first, last, damping) loops layers ``first`` to ``last - 1`` of a deep model.
    ``report`` gets the share done, 0 to 1, and what is being done. Raises `CheckpointError`,
    `LoopscopeError` for an unknown device or dtype, `Cancelled`.
    """
    choice, torch_dtype = choose_device(device), choose_dtype(dtype)
    checkpoint = open_checkpoint(path)
    if loop is not None:
        checkpoint = looped_checkpoint(checkpoint, *loop)
    arch = checkpoint.architecture
    tokenizer = PromptTokenizer(checkpoint.tokenizer_file, arch.vocab_size, arch.max_positions)
    with torch.device("meta"):
        model = LoopedModel(arch)
    weights = _read_weights(checkpoint, choice.device, torch_dtype, report, cancelled)
    if arch.tied_head:
        weights["unembed.weight"] = weights["embed.weight"]
    model.load_state_dict(weights, assign=True)
    if arch.tied_head:
        model.unembed.weight = model.embed.weight
    model.requires_grad_(False)
    model.eval()
    report(1.0, "hashing the weights")
    digest = weights_hash(checkpoint, cancelled)
    warning = None if choice.met else f"running on {choice.device.type}: {choice.reason}"
    if choice.device.type == "mps":
        warning = _compare_with_cpu(model, checkpoint) or warning
    return Loaded(checkpoint, model, tokenizer, choice, dtype, digest, warning)


def _read_weights(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    report: Report,
    cancelled: Callable[[], bool],
) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    total = sum(t.end - t.start for t in checkpoint.tensors.values())
    done = 0
    for parameter, source in checkpoint.sources.items():
        parts = []
        for name in source.names:
            if cancelled():
                raise Cancelled("loading was stopped")
            info = checkpoint.tensors[name]
            tensor = _read_tensor(info.file, name).to(device, dtype)
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{info.file}: tensor '{name}' holds NaN or infinite values")
            parts.append(tensor)
            done += info.end - info.start
            report(done / total, "reading the weights")
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        if source.rows is not None:
            whole = whole[source.rows[0] : source.rows[1]].clone()
        weights[parameter] = _arranged(whole, source.how, checkpoint.architecture)
    return weights


def _arranged(tensor: torch.Tensor, how: str, arch: Architecture) -> torch.Tensor:
    """Bring a tensor of the file into our order of rows, see `Source`."""
    if how == "transpose":
        return tensor.T.contiguous()
    if how == "interleaved":
        heads, rest = arch.layer.n_heads, tensor.shape[1:]
        return tensor.view(heads, 3, -1, *rest).transpose(0, 1).reshape(tensor.shape)
    return tensor


def _read_tensor(file: Path, name: str) -> torch.Tensor:
    try:
        with safe_open(file, framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        problem = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: tensor '{name}': {problem}") from None
    return tensor


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


__all__ = ["Cancelled", "Loaded", "LoopscopeError", "Report", "load", "package_version"]
