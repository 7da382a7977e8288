"""Sentences about the model and the cursor."""

from __future__ import annotations

from loopscope.core.checkpoint import Checkpoint
from loopscope.core.inspection import count
from loopscope.core.recording import Recording
from loopscope.core.selection import Selection


def model_line(checkpoint: Checkpoint) -> str:
    """``bundled:looped · 210 k params · 1 + 2-layer block + 1 · trained to R = 20``."""
    arch = checkpoint.architecture
    block = arch.block_words
    around = (
        f"{arch.n_prelude} + {block} + {arch.n_coda}" if arch.n_prelude or arch.n_coda else block
    )
    parts = [checkpoint.name, f"{count(arch.n_parameters)} params", around]
    if not arch.deep:
        parts.append(f"trained to R = {arch.trained_recurrences}")
    return "  ·  ".join(parts)


def place(selection: Selection, recording: Recording) -> str:
    """Where the cursor is: "recurrence 7, layer 1 (of 0-1), head 3, token 10 'a'"."""
    arch = recording.info.architecture
    last = recording.n_layers - 1
    layers = arch.layer_name(min(selection.layer, last))
    if last and not arch.inner_cycles:
        layers += f" (of 0–{last})"
    label = recording.info.token_labels[selection.token]
    where = "initial state" if selection.recurrence == 0 else f"recurrence {selection.recurrence}"
    shown = len(selection.shown_tokens(recording.n_tokens))
    chosen = "" if shown == recording.n_tokens else f"   ·   {shown} tokens shown"
    return (
        f"{where}, {layers}, head {selection.head} (of 0–{arch.layer.n_heads - 1}), "
        f"token {selection.token} '{label}'{chosen}"
    )
