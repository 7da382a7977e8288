"""What makes two sets of weights the same: their values, not their names.

A digest for each set of weights that the graph knows (`graph.Node.weights`). Tied tensors and
equal tensors have the same digest, different ones do not, within a model and between two. A set is
the tensors of one layer, one norm, one table; its digest is of their shapes and of their values as
float32, whatever they are called, so that a layer of the block, of the prelude and of another
family's checkpoint can be the same set.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from loopscope.core.model.architecture import PART_OF, STACKS, parameter_shapes
from loopscope.core.model.looped_model import LoopedModel

# Sets of up to this many entries are hashed whole; of larger ones this many of each tensor.
WHOLE, SAMPLES = 1 << 20, 1 << 14
SAMPLED = "sampled:"
_PIECE = 1 << 20
# What a model may have several of.
NUMBERED = (*STACKS, "adapter", "closing_norm")


def weight_identity(model: LoopedModel) -> dict[str, str]:
    """Return the digest of each set of weights, by its key in the graph ("block.0", "head").

    Hexadecimal BLAKE2b. One that begins with "sampled:" is of entries spread evenly over each
    tensor of a large set: where two of one model agree they were compared in full (and are hashed
    in full if that shows a difference), where two of different models agree they were not.
    """
    sets = _sets(model)
    digests = {key: _digest(tensors) for key, tensors in sets.items()}
    agreeing: dict[str, list[str]] = {}
    for key, digest in digests.items():
        agreeing.setdefault(digest, []).append(key)
    for digest, keys in agreeing.items():
        first = sets[keys[0]]
        if digest.startswith(SAMPLED) and not all(_equal(first, sets[k]) for k in keys[1:]):
            digests |= {key: _digest(sets[key], whole=True) for key in keys}
    return digests


def _sets(model: LoopedModel) -> dict[str, list[Tensor]]:
    """Tensors of each set, always in the same order."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    sets: dict[str, list[Tensor]] = {}
    for name in parameter_shapes(model.arch):
        first, *rest = name.split(".")
        # A layer of a stack, or what one pass of an untied loop has of its own.
        numbered = first in NUMBERED and rest[0].isdigit()
        key = f"{PART_OF[first]}.{rest[0]}" if numbered else PART_OF[first]
        sets.setdefault(key, []).append(parameters[name].detach())
    return sets


def _digest(tensors: list[Tensor], *, whole: bool = False) -> str:
    whole = whole or sum(t.numel() for t in tensors) <= WHOLE
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        flat = tensor.reshape(-1)
        if not whole:
            flat = flat[:: max(1, math.ceil(len(flat) / SAMPLES))]
        for start in range(0, len(flat), _PIECE):
            # Adding 0 turns -0 into 0, which is equal to it.
            piece = flat[start : start + _PIECE].float() + 0.0
            digest.update(piece.cpu().numpy().tobytes())
    return ("" if whole else SAMPLED) + digest.hexdigest()


def _equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(x.data_ptr() == y.data_ptr() or torch.equal(x, y) for x, y in zip(a, b, strict=True))
