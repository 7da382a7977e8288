"""What a recording file says in words: its version, and each run's head, held to their types.

`docs/recordings.md` is the layout; a change to it is a new `VERSION` and a step in `MIGRATIONS`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import from_json
from loopscope.core.labels import writable
from loopscope.core.model import rope
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layer_shape import LayerShape, NormSlot
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.run_info import RunInfo
from loopscope.core.typed_json import Reader, plain

FORMAT, VERSION = "loopscope recording", 1
# By the version that they start from: what was said then, as the next version says it.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
# Layers in a stack and heads in a layer that anything of a file may claim; other numbers.
MOST_LAYERS, MOST_HEADS, MOST_NUMBER = 4096, 65_536, 1 << 31


@dataclass(frozen=True, slots=True)
class About:
    """Of the whole file.

    command : that made it.  torch, threads : what it ran with.
    pieces : text of each token of the vocabulary, none where ids stand for themselves.
    """

    command: str = ""
    torch: str = ""
    threads: int = 0
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """Of one run.

    parent : index of the run whose first ``shared_layers`` layers are this one's too, or None.
    effects : (intervention, recurrence, relative change) for each that has acted; numbers as text,
        as JSON has no NaN.
    """

    info: RunInfo
    capture: Capture
    parent: int | None = None
    shared_layers: int = 0
    effects: tuple[tuple[int, int, str], ...] = ()
    weight_identity: dict[str, str] = field(default_factory=dict)


def head_of(recording: Recording, parent: int | None) -> Head:
    """Return the head of a recording whose ``parent`` stands at that index, or is not kept."""
    effects = sorted(recording.effects.items())
    return Head(
        recording.info,
        recording.capture,
        parent,
        0 if parent is None else recording.shared_layers,
        tuple((i, r, repr(float(change))) for (i, r), change in effects),
        dict(recording.weight_identity),
    )


def as_json(value: About | Head) -> dict[str, Any]:
    """Plain values; text that no file can hold is replaced."""
    made = _readable(json.loads(json.dumps(plain(value), default=_sorted)))
    assert isinstance(made, dict)
    return made


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return writable(value).replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_readable(entry) for entry in value]
    if isinstance(value, dict):
        return {_readable(key): _readable(entry) for key, entry in value.items()}
    return value


def _sorted(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not written to a recording")


def read_about(values: Any, where: str) -> About:
    """Read what `as_json` wrote; raises `LoopscopeError` that says where it is not that."""
    made: About = READER.fields(About, values, where)
    return made


def read_head(values: Any, where: str) -> Head:
    """Read what `as_json` wrote and hold it to what a run can be; raises `LoopscopeError`."""
    head: Head = READER.fields(Head, values, where)
    info, arch = head.info, head.info.architecture
    if problem := _impossible(arch):
        raise LoopscopeError(f"{where}: {problem}")
    if not info.token_ids or len(info.token_labels) != len(info.token_ids):
        raise LoopscopeError(f"{where}: its tokens and their labels are not as many")
    if min(info.token_ids) < 0 or max(info.token_ids) >= arch.vocab_size + arch.prefix_rows * max(
        arch.prefix, 1
    ):
        raise LoopscopeError(f"{where}: has token ids that its vocabulary does not have")
    for intervention in info.interventions:
        intervention.check(arch, len(info.token_ids))
    for i, _, change in head.effects:
        if not 0 <= i < len(info.interventions) or not _is_number(change):
            raise LoopscopeError(f"{where}: has an effect of no intervention")
    return head


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text)) or text == "nan"
    except ValueError:
        return False


def _impossible(arch: Architecture) -> str:
    """Why no model is made like this, or ""."""
    for name in ("n_prelude", "n_block", "n_coda", "inner_cycles", "untied_passes"):
        if not (name == "n_block") <= getattr(arch, name) <= MOST_LAYERS:
            return f"'{name}' is {getattr(arch, name)}"
    layers = (_impossible_layer(shape) for shape in (arch.layer, *arch.layer_shapes))
    if why := next(filter(None, layers), "") or _impossible_sizes(arch):
        return why
    try:
        assert arch.n_parameters >= 0  # the sizes fit together
        assert arch.layer_names
    except Exception as problem:  # of whatever they do not fit
        return f"its model makes no sense: {str(problem)[:80]}"
    return ""


def _impossible_layer(shape: LayerShape) -> str:
    if not 1 <= shape.n_kv_heads <= shape.n_heads <= MOST_HEADS:
        return f"a layer has {shape.n_heads} heads and {shape.n_kv_heads} of keys"
    if not shape.norms <= set(get_args(NormSlot)):
        return "a layer has a norm where there is none"
    return _impossible_numbers(shape)


def _impossible_numbers(part: Architecture | LayerShape) -> str:
    for name in (own.name for own in fields(part)):
        value = getattr(part, name)
        if isinstance(value, int) and not 0 <= value < MOST_NUMBER:
            return f"'{name}' is {value}"
    return ""


def _impossible_sizes(arch: Architecture) -> str:
    if min(arch.vocab_size, arch.d_model, arch.trained_recurrences, arch.layer.d_head) < 1:
        return "a size of its model is 0"
    if len(arch.layer_shapes) not in (0, arch.unique_depth):
        return f"it has shapes of {len(arch.layer_shapes)} layers, not of {arch.unique_depth}"
    used = arch.block_weights
    if used and (len(used) != arch.n_block or not all(0 <= i < arch.n_block for i in used)):
        return "its layers share weights that there are not"
    return _impossible_numbers(arch)


def _scaling(value: Any, where: str) -> rope.Scaling:
    """A stretching of rotary positions, by its kind."""
    kinds = {made.kind: made for made in (cls() for cls in _scalings())}
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in kinds:
        raise LoopscopeError(f"{where}: there is no stretching '{str(kind)[:40]}'")
    made: rope.Scaling = READER.fields(type(kinds[kind]), value, where)
    return made


def _scalings() -> tuple[type[rope.Scaling], ...]:
    return (rope.Scaling, *rope.Scaling.__subclasses__())


def _texts(value: Any, where: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise LoopscopeError(f"{where}: expected a list of texts")
    return frozenset(value)


READER = Reader(
    {
        tuple[Intervention, ...]: from_json,
        rope.Scaling: _scaling,
        frozenset[str]: _texts,
        frozenset[NormSlot]: _texts,
    }
)
