"""Checkpoint families: one file each, registered in one line of `OURS`.

Those of other packages come after ours, and so get no folder that one of ours recognises. May
import `model` and the root files of core. Start with `family`, then `llama`.
"""

from __future__ import annotations

from collections.abc import Collection

from loopscope.core.families import (
    albert,
    gpt2,
    gpt_neox,
    hrm,
    huginn,
    lds,
    llama,
    nanbeige,
    nanochat,
    nanogpt,
    native,
    parcae,
    trm,
)
from loopscope.core.families.family import Config, Family
from loopscope.core.plugins import FAMILY, Registry, fits

OURS: tuple[Family, ...] = (
    native.FAMILY,
    huginn.HUGINN,
    huginn.RETROFIT_LLAMA,
    huginn.RETROFIT_OLMO,
    hrm.FAMILY,
    albert.FAMILY,
    *llama.FAMILIES,
    gpt2.FAMILY,
    gpt_neox.FAMILY,
    nanbeige.FAMILY,
    nanogpt.BASE_LOOP,
    nanogpt.NANOLOOP,
    nanochat.RECURSIVE,
    nanochat.LOOPED,
    lds.FAMILY,
    parcae.FAMILY,
    trm.FAMILY,
    nanogpt.LOOPFORMER,
)
FAMILIES: Collection[Family] = Registry(
    FAMILY, OURS, lambda family: family.name, lambda value: fits(value, Family)
).values()


def recognise(config: Config, tensors: frozenset[str]) -> tuple[Family, str] | None:
    """Return the family of a folder and how it was recognised, or None."""
    for family in FAMILIES:
        how = family.recognise(config, tensors)
        if how:
            return family, how
    return None
