"""Run cases, and say of each whether it agrees, is refused, or is wrong."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from conformance import looped, nano, plain, raven, whole_loops
from conformance.comparing import differs, differs_in_float64, lost_in_rounding
from conformance.published import Truth, compute, rewrite, save
from conformance.space import PLAIN, Case, draw
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import CheckpointError

Outcome = Literal["agrees", "refused", "wrong", "lost in rounding", "not published"]
# Head and embedding in the file of each tied family.
TIED = {
    "gpt_neox": ("embed_out.weight", "gpt_neox.embed_in.weight"),
    "gpt2": ("lm_head.weight", "transformer.wte.weight"),
    "albert": ("predictions.decoder.weight", "albert.embeddings.word_embeddings.weight"),
}
LLAMA = ("lm_head.weight", "model.embed_tokens.weight")
# Families that are written out here.
WRITTEN: dict[str, Callable[[int, Path], plain.Model]] = {
    **whole_loops.FAMILIES,
    **raven.FAMILIES,
    **nano.FAMILIES,
    **looped.FAMILIES,
}
# One case in so many is of a family that `transformers` does not have.
PLAIN_EACH = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case.

    reason : why it is refused, in what it differs, or what the published code says of it.
    """

    family: str
    seed: int
    outcome: Outcome
    reason: str = ""


def run(seed: int) -> Result:
    """Run the case of a seed."""
    if seed % PLAIN_EACH == 0:
        return run_plain(PLAIN[seed // PLAIN_EACH % len(PLAIN)], seed)
    case = draw(seed)
    with tempfile.TemporaryDirectory(prefix="loopscope-conformance-") as name:
        folder = Path(name) / "model"
        try:
            truth = _published(case, folder)
        except Exception as error:  # of any kind: the published code does not take this config
            return Result(case.family, seed, "not published", f"{type(error).__name__}: {error}")
        if not np.isfinite(truth.logits).all():
            return Result(case.family, seed, "not published", "logits that are not finite")
        return _compared(case.family, seed, folder, lambda loaded: _judged(loaded, truth, case.ids))


def _judged(loaded: Loaded, truth: Truth, ids: tuple[int, ...]) -> tuple[Outcome, str]:
    difference = differs(loaded, truth, ids)
    if not difference:
        return "agrees", ""
    return ("lost in rounding" if lost_in_rounding(loaded, truth, ids) else "wrong"), difference


def _published(case: Case, folder: Path) -> Truth:
    save(case.config, folder, case.seed)
    _change(case, folder)
    rewrite(folder, case.written)
    return compute(folder, case.ids)


def _change(case: Case, folder: Path) -> None:
    """Do to the file what a case says of its head and its names."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    head, embedding = TIED.get(case.family, LLAMA)
    if case.head != "as saved":
        tensors[head] = tensors[embedding].clone()
    if case.head == "different":
        torch.manual_seed(case.seed)
        tensors[head] += 0.3 * torch.randn_like(tensors[head])
    if case.head == "alone":
        del tensors[embedding]
    if case.bare:
        prefix = embedding.split(".")[0] + "."
        tensors = {name.removeprefix(prefix): t for name, t in tensors.items()}
    save_file(tensors, file, {"format": "pt"})


def run_plain(family: str, seed: int) -> Result:
    """Run a case of a family that is written out here."""
    with tempfile.TemporaryDirectory(prefix="loopscope-conformance-") as name:
        folder = Path(name) / "model"
        model = WRITTEN[family](seed, folder)
        truth = model.truth()
        return _compared(
            family, seed, folder,
            lambda loaded: _exactly(differs_in_float64(loaded, truth, model.ids, model.start)),
        )  # fmt: skip


def _exactly(difference: str) -> tuple[Outcome, str]:
    return ("wrong" if difference else "agrees"), difference


def _compared(
    family: str, seed: int, folder: Path, judge: Callable[[Loaded], tuple[Outcome, str]]
) -> Result:
    try:
        loaded = load(str(folder), "cpu")
    except CheckpointError as error:
        return Result(family, seed, "refused", _reason(error, folder))
    return Result(family, seed, *judge(loaded))


def _reason(error: CheckpointError, folder: Path) -> str:
    """Why, without what changes from case to case."""
    said = str(error).replace(f"{folder}/", "").replace(str(folder), "")
    return re.sub(r"\d+(\.\d+)?", "N", said)
