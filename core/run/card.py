"""The checkpoint card: what a folder is and what it will cost, from headers alone."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import read_text
from loopscope.core.labels import count, size
from loopscope.core.model.architecture import Architecture
from loopscope.core.run.states import TOP_K
from loopscope.core.system import host_free_bytes

if TYPE_CHECKING:
    from loopscope.core.checkpoint.folder import Checkpoint

MOST_CONFIG_BYTES = 64 << 20
DTYPE_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


def _row_bytes(arch: Architecture, n_tokens: int) -> tuple[int, int, int]:
    """Bytes that a recording of everything keeps of a layer, a recurrence's answers, a state."""
    t, state = n_tokens, 4 * n_tokens * arch.d_model
    layer = state + 4 * (arch.layer.n_heads * t * t + 2 * t)  # patterns and writes
    answers = 2 * 12 * t * min(TOP_K, arch.vocab_size)  # two lenses, int64 ids and float32
    answers += 8 * t  # entropy of the readout and its change
    return layer, answers + (4 * t if arch.exit_gate else 0), state


def capture_bytes(checkpoint: Checkpoint, n_tokens: int, n_recurrences: int) -> int:
    """Bytes of a recording of everything."""
    return recording_bytes(checkpoint.architecture, n_tokens, n_recurrences)


def recording_bytes(arch: Architecture, n_tokens: int, n_recurrences: int) -> int:
    """`capture_bytes` of an architecture."""
    layer, answers, state = _row_bytes(arch, n_tokens)
    return n_recurrences * (arch.n_block * layer + answers) + (n_recurrences + 1) * state


def card(checkpoint: Checkpoint, tokenizer_problem: str = "") -> dict[str, Any]:
    """Everything `loopscope inspect` prints, as plain values.

    ``tokenizer_problem`` is why its tokenizer.json cannot be used, see `PromptTokenizer.problem`.
    """
    arch = checkpoint.architecture
    trained = arch.trained_recurrences
    stored = sum(math.prod(t.shape) for t in checkpoint.tensors.values())
    layer, answers, state = _row_bytes(arch, 64)
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
        "rotary": None if arch.layer.rope.pairs == "none" else arch.layer.rope.scaling.kind,
        "learned_positions": arch.learned_positions,
        "windows": list(windows_of(arch)),
        "injection": arch.injection,
        "closing_norm": arch.closing_norm,
        "initial_state": arch.initial_state,
        "tied_head": arch.tied_head,
        "nested": {"inner_cycles": arch.inner_cycles, "layers_per_stack": arch.n_stack}
        if arch.inner_cycles
        else None,
        "untied_passes": arch.untied_passes,
        "exit_gate": arch.exit_gate,
        "bidirectional": arch.masked,
        "damping": arch.damping,
        "parameters": arch.n_parameters,
        "parameters_stored": stored,
        "parameters_effective": arch.effective_parameters(trained),
        "stored_dtype": checkpoint.dtype,
        "tokenizer": checkpoint.tokenizer_file is not None and not tokenizer_problem,
        "weights_bytes": {dtype: arch.n_parameters * size for dtype, size in DTYPE_SIZES.items()},
        "capture_bytes_per_recurrence_64_tokens": arch.n_block * layer + answers + state,
        "capture_bytes_64_tokens": capture_bytes(checkpoint, 64, trained),
        "main_memory_free_bytes": host_free_bytes(),
        "notes": list(checkpoint.notes),
        "unavailable": _unavailable(checkpoint, tokenizer_problem),
        "layer": {k: _plain(v) for k, v in asdict(arch.layer).items()},
    }


def _unavailable(checkpoint: Checkpoint, tokenizer_problem: str) -> list[str]:
    """What this checkpoint cannot do here, and why."""
    arch = checkpoint.architecture
    missing = []
    if problem := _no_text(checkpoint, tokenizer_problem):
        missing.append(f"text prompts: {problem}; give token ids")
    elif _has_chat_template(checkpoint):
        missing.append("chat template: there is one, it is not applied; prompts are as typed")
    if "auto_map" in checkpoint.config:
        missing.append("the folder's own code (auto_map): reported, never run")
    if arch.masked:
        missing.append("next-token readout: it reads both ways; a token is read at its place")
    if arch.head_transform:
        missing.append("readout directions: the head is not linear in the state")
    if arch.runs_once:
        missing.append("recurrences: a deep model runs once; a span of its layers can be looped")
    if checkpoint.config.get("prefix_lm"):
        missing.append("two-way attention over an instruction (prefix_lm): prompts are causal")
    if arch.initial_state == "embedding":
        missing.append("random start states: s_0 is the embedded prompt")
    if arch.initial_state == "learned":
        missing.append("random start states: s_0 is a learned vector")
    return missing


def _no_text(checkpoint: Checkpoint, tokenizer_problem: str) -> str:
    """Why text cannot be read, or ""."""
    if checkpoint.tokenizer_file is not None:
        return tokenizer_problem
    alone = (checkpoint.path / "tokenizer.model").is_file()
    return "there is no tokenizer.json" + " (tokenizer.model alone is not read)" * alone


def _has_chat_template(checkpoint: Checkpoint) -> bool:
    if (checkpoint.path / "chat_template.jinja").is_file():
        return True
    try:
        text = read_text(checkpoint.path / "tokenizer_config.json", MOST_CONFIG_BYTES)
    except LoopscopeError:  # there is none, or none that can be read: nothing depends on it
        return False
    return '"chat_template"' in text


def card_text(values: dict[str, Any]) -> str:
    """Write the card as aligned lines for a terminal."""
    layers = values["layers"]
    rows = [
        ("checkpoint", f"{values['name']}  ({values['path']})"),
        ("family", f"{values['family']}, by {values['recognised_by']}"),
        (
            "layers",
            f"prelude {layers['prelude']}, recurrent block {layers['block']}"
            + (
                f" (nested: {nested['inner_cycles']} × {nested['layers_per_stack']} fast, "
                f"then {nested['layers_per_stack']} slow)"
                if (nested := values["nested"])
                else ""
            )
            + (
                f" (untied: {passes} passes of {layers['block'] // passes})"
                if (passes := values["untied_passes"])
                else ""
            )
            + f", coda {layers['coda']}",
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
        ("positions", _positions(values)),
        (
            "parameters",
            f"{count(values['parameters'])} unique, "
            f"{count(values['parameters_effective'])} in the unrolling at the trained R",
        ),
        (
            "state",
            f"injection {values['injection']}, start {values['initial_state']}, "
            f"closing norm {'yes' if values['closing_norm'] else 'no'}"
            + (", exit gate" if values["exit_gate"] else "")
            + (", bidirectional" if values["bidirectional"] else "")
            + (f", damping {values['damping']:g}" if values["damping"] != 1 else ""),
        ),
        ("stored as", values["stored_dtype"]),
        ("tokenizer", "yes" if values["tokenizer"] else "no: token ids are accepted"),
        (
            "weights",
            ", ".join(f"{k} {size(v)}" for k, v in values["weights_bytes"].items())
            + " on the device (cpu, cuda, mps alike)",
        ),
        (
            "capture",
            f"{size(values['capture_bytes_per_recurrence_64_tokens'])} a recurrence at 64 tokens, "
            f"{size(values['capture_bytes_64_tokens'])} for R = {values['trained_recurrences']}, "
            "in main memory",
        ),
        ("free", _free(values)),
        *(("note", line) for line in values["notes"]),
        *(("unavailable", line) for line in values["unavailable"]),
    ]
    return "\n".join(f"{key:<12} {value}" for key, value in rows)


def windows_of(arch: Architecture) -> tuple[int, ...]:
    """Window of each layer with weights of its own, 0 for none; empty where none has one."""
    shapes = arch.layer_shapes or (arch.layer,) * arch.unique_depth
    windows = tuple(shape.window for shape in shapes)
    return windows if any(windows) else ()


def _positions(values: dict[str, Any]) -> str:
    """How long a prompt may be, how positions are told and what a layer sees of them."""
    rotary, windows = values["rotary"], values["windows"]
    kind = f"rotary ({rotary})" if rotary else None
    kind = kind or ("learned" if values["learned_positions"] else "not told to the layers")
    text = f"{values['positions']}, {kind}"
    for window in sorted({*windows} - {0}):
        n = windows.count(window)
        text += f", window {window} on {n} of {len(windows)} layers"
    return text


def _free(values: dict[str, Any]) -> str:
    """What fits into main memory now; a GPU is asked when the model is loaded."""
    free = values["main_memory_free_bytes"]
    if free is None:
        return "the system does not say how much main memory is free"
    capture = values["capture_bytes_64_tokens"]
    fits = [k for k, v in values["weights_bytes"].items() if v + capture <= free]
    fitting = f"on cpu {', '.join(fits)} fit" if fits else "on cpu no dtype fits"
    return f"{size(free)} of main memory: {fitting}; a GPU is asked when the model is loaded"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
