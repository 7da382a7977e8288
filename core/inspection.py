"""The checkpoint card: what a folder is and what it will cost, from headers alone."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from loopscope.core.checkpoint import Checkpoint
from loopscope.core.recording import TOP_K

DTYPE_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


def capture_bytes(checkpoint: Checkpoint, n_tokens: int, n_recurrences: int) -> int:
    """Bytes that a recording of everything takes: states, patterns, writes, answers (float32)."""
    arch = checkpoint.architecture
    t, layers, heads = n_tokens, arch.n_block, arch.layer.n_heads
    per_layer = 4 * (t * arch.d_model + heads * t * t + 2 * t)
    per_recurrence = layers * per_layer + 4 * t * arch.d_model + 2 * 12 * t * TOP_K
    return n_recurrences * per_recurrence + 4 * t * arch.d_model


def card(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything `loopscope inspect` prints, as plain values."""
    arch = checkpoint.architecture
    trained = arch.trained_recurrences
    stored = sum(math.prod(t.shape) for t in checkpoint.tensors.values())
    missing = []
    if checkpoint.tokenizer_file is None:
        missing.append("text prompts: there is no tokenizer.json; give token ids")
    if "auto_map" in checkpoint.config:
        missing.append("the folder's own code (auto_map): reported, never run")
    return {
        "name": checkpoint.name,
        "path": str(checkpoint.path),
        "family": checkpoint.family.title,
        "recognised_by": checkpoint.recognised_by,
        "layers": {"prelude": arch.n_prelude, "block": arch.n_block, "coda": arch.n_coda},
        "trained_recurrences": trained,
        "unique_depth": arch.unique_depth,
        "effective_depth": arch.effective_depth(trained),
        "d_model": arch.d_model,
        "heads": arch.layer.n_heads,
        "key_value_heads": arch.layer.n_kv_heads,
        "d_head": arch.layer.d_head,
        "vocabulary": arch.vocab_size,
        "positions": arch.max_positions,
        "injection": arch.injection,
        "closing_norm": arch.closing_norm,
        "initial_state": arch.initial_state,
        "tied_head": arch.tied_head,
        "parameters": arch.n_parameters,
        "parameters_stored": stored,
        "parameters_effective": arch.effective_parameters(trained),
        "stored_dtype": checkpoint.dtype,
        "tokenizer": checkpoint.tokenizer_file is not None,
        "weights_bytes": {dtype: arch.n_parameters * size for dtype, size in DTYPE_SIZES.items()},
        "capture_bytes_per_recurrence_64_tokens": capture_bytes(checkpoint, 64, 2)
        - capture_bytes(checkpoint, 64, 1),
        "unavailable": missing,
        "layer": {k: _plain(v) for k, v in asdict(arch.layer).items()},
    }


def card_text(values: dict[str, Any]) -> str:
    """Write the card as aligned lines for a terminal."""
    layers = values["layers"]
    rows = [
        ("checkpoint", f"{values['name']}  ({values['path']})"),
        ("family", f"{values['family']}, by {values['recognised_by']}"),
        (
            "layers",
            f"prelude {layers['prelude']}, recurrent block {layers['block']}, "
            f"coda {layers['coda']}",
        ),
        ("recurrences", f"trained to R = {values['trained_recurrences']}"),
        ("depth", f"unique {values['unique_depth']}, effective {values['effective_depth']}"),
        (
            "width",
            f"d_model {values['d_model']}, {values['heads']} heads of {values['d_head']}"
            + (
                f" ({values['key_value_heads']} key/value heads)"
                if values["key_value_heads"] != values["heads"]
                else ""
            ),
        ),
        (
            "parameters",
            f"{count(values['parameters'])} unique, "
            f"{count(values['parameters_effective'])} in the unrolling at the trained R",
        ),
        (
            "state",
            f"injection {values['injection']}, start {values['initial_state']}, "
            f"closing norm {'yes' if values['closing_norm'] else 'no'}",
        ),
        ("stored as", values["stored_dtype"]),
        ("tokenizer", "yes" if values["tokenizer"] else "no: token ids are accepted"),
        (
            "memory",
            ", ".join(f"{k} {size(v)}" for k, v in values["weights_bytes"].items())
            + f"; capture {size(values['capture_bytes_per_recurrence_64_tokens'])}"
            " a recurrence at 64 tokens",
        ),
        *(("unavailable", line) for line in values["unavailable"]),
    ]
    return "\n".join(f"{key:<12} {value}" for key, value in rows)


def count(n: float) -> str:
    """Three significant digits with k, M, G: ``210432 -> "210 k"``."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= scale * 0.9995:
            return f"{_three(n / scale)} {unit}"
    return f"{n:.0f}"


def size(n: float) -> str:
    """Bytes with binary units, three significant digits."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= scale * 0.9995:
            return f"{_three(n / scale)} {unit}"
    return f"{n:.0f} B"


def _three(x: float) -> str:
    return f"{x:.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
