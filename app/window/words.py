"""Sentences about the model and the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopscope.core.labels import count, size, visible
from loopscope.core.measures.precision import error_line
from loopscope.core.run.elsewhere import elsewhere
from loopscope.core.run.recording import Recording
from loopscope.core.run.status import RunnerState, Status
from loopscope.core.selection import Selection

if TYPE_CHECKING:
    from loopscope.core.checkpoint.folder import Checkpoint
    from loopscope.core.run.elsewhere import AnyModel


def model_name(checkpoint: Checkpoint) -> str:
    """Its name, with the family that it was asked to be read as."""
    if not checkpoint.asked_for:
        return checkpoint.name
    return f"{checkpoint.name} (read as {checkpoint.family.title})"


def model_line(checkpoint: Checkpoint) -> str:
    """``bundled:looped · 210 k params · 1 + 2-layer block + 1 · trained to R = 20``."""
    arch = checkpoint.architecture
    block = arch.block_words
    around = (
        f"{arch.n_prelude} + {block} + {arch.n_coda}" if arch.n_prelude or arch.n_coda else block
    )
    parts = [model_name(checkpoint), f"{count(arch.n_parameters)} params", around]
    if not arch.deep:
        parts.append(f"trained to R = {arch.trained_recurrences}")
    return "  ·  ".join(parts)


def device_words(loaded: AnyModel, recording: Recording | None) -> tuple[str, str, str]:
    """Where the model runs and in which dtype, why, and what its weights take.

    A half-precision run says how far it is from float32, or how to find out.
    """
    where, why = f"{loaded.device.device.type.upper()}  ·  {loaded.dtype}", loaded.device.reason
    if (there := elsewhere(loaded)) is not None:
        where += f"  ·  on {there.place}"
        why += f"\n{there.place_details}"
    if recording is not None and recording.info.dtype != "float32":
        errors = recording.float32_error
        if errors is None:
            where += " (error not measured)"
            why += "\nRun > Measure the error against float32 compares the states"
        else:
            where += f" (error {np.nanmedian(errors[-1]):.1e} at r = {len(errors)})"
            why += f"\n{error_line(errors, recording.info.dtype)}"
    return where, why, size(loaded.nbytes)


def waits_for(status: Status) -> str:
    """What a view waits for that shows a run, while there is none."""
    if status.state in (RunnerState.STARTING, RunnerState.LOADING):
        return "The checkpoint is being loaded."
    if status.loaded is None:
        return "No checkpoint is open. Open one with Ctrl+O, or drop its folder on the window."
    return "There is no run. Give the model a prompt in the line above (Ctrl+L)."


def place(selection: Selection, recording: Recording) -> str:
    """Where the cursor is: "recurrence 7, layer 1 (of 0-1), head 3, token 10 'a'"."""
    arch = recording.info.architecture
    last = recording.n_layers - 1
    layers = arch.layer_name(min(selection.layer, last))
    if last and not arch.inner_cycles:
        layers += f" (of 0–{last})"
    label = visible(recording.info.token_labels[selection.token])
    where = "initial state" if selection.recurrence == 0 else f"recurrence {selection.recurrence}"
    n_shown = len(selection.shown_tokens(recording.n_tokens))
    chosen = (
        ""
        if n_shown == recording.n_tokens
        else f"   ·   {n_shown} of {recording.n_tokens} tokens shown"
    )
    return (
        f"{where}, {layers}, head {selection.head} (of 0–{arch.layer.n_heads - 1}), "
        f"token {selection.token} '{label}'{chosen}"
    )
