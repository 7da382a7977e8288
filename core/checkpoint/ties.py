"""Which tensors of a file are one: the head and the embedding of a tied model.

A config that ties them is not always true of its file. As `transformers` 5 does: where both are
there with the same values, they are tied; with different ones, each is used; where one is missing,
the other stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from loopscope.core.checkpoint.headers import TensorInfo
from loopscope.core.errors import CheckpointError
from loopscope.core.families.family import Family, Source
from loopscope.core.files import reason
from loopscope.core.model.architecture import Architecture

# Bytes that are compared in one go.
PIECE = 1 << 22


@dataclass(frozen=True, slots=True)
class Settled:
    """An architecture that is true of the file, and what its parameters are made of.

    known : tensors that are copies of others and not read.
    notes : what the file is that its config does not say, a line each.
    """

    architecture: Architecture
    sources: dict[str, Source]
    known: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Pairs:
    """What is found of the pairs that should be tied."""

    stands_for: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    apart: set[str] = field(default_factory=set)

    def settle(self, head: str, other: str, tensors: Mapping[str, TensorInfo]) -> None:
        """Compare one pair; ``other`` is what the head should be."""
        if head in tensors and other in tensors:
            if same_values(tensors[head], tensors[other]):
                self.known.add(head)
                self.stands_for[head] = other
            else:
                self.apart.add(head)
                self.notes.append(
                    f"tensor '{head}' is not '{other}', although the config ties them: each is used"
                )
        elif head in tensors:
            self.stands_for[other] = head
        else:
            self.stands_for[head] = other


def settle_ties(family: Family, arch: Architecture, tensors: Mapping[str, TensorInfo]) -> Settled:
    """Compare what the config ties with the file's values; raises `CheckpointError`."""
    names = frozenset(tensors)
    if not arch.tied_head:
        return Settled(arch, family.tensors(arch, names))
    apart = replace(arch, tied_head=False)
    sources = family.tensors(apart, names)
    (head,), (embedding,) = (sources[f"{part}.weight"].names for part in ("unembed", "embed"))
    pairs = _Pairs()
    for pair in ((head, embedding), *family.ties):
        pairs.settle(*pair, tensors)
    if head not in pairs.apart:
        apart = arch
        sources = family.tensors(arch, names)
    stands_for = pairs.stands_for
    sources = {
        ours: replace(source, names=tuple(stands_for.get(name, name) for name in source.names))
        for ours, source in sources.items()
    }
    return Settled(apart, sources, frozenset(pairs.known), tuple(pairs.notes))


def same_values(a: TensorInfo, b: TensorInfo) -> bool:
    """Whether two tensors hold the same bytes, dtype and shape; reads up to the first difference.

    Different bytes of the same value (0 and -0, two dtypes) count as different: each is then used,
    which computes the same. Raises `CheckpointError` for a file that cannot be read.
    """
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    try:
        with a.file.open("rb") as one, b.file.open("rb") as other:
            one.seek(a.start)
            other.seek(b.start)
            for at in range(a.start, a.end, PIECE):
                size = min(PIECE, a.end - at)
                if one.read(size) != other.read(size):
                    return False
    except OSError as error:
        raise CheckpointError(f"{a.file}: cannot be read: {reason(error)}") from None
    return True
