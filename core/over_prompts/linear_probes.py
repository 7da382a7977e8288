"""Fit and test linear probes on the states of every place, over prompts with labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F32, F64, I64, Bools
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.intervals import wilson_share
from loopscope.core.measures.linear_maps import RidgeReader
from loopscope.core.measures.linear_probes import LinearProbes
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.places import Places
from loopscope.core.over_prompts.measuring import run_each
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.kept_rows import Capture

Report = Callable[[float], None]
# Labelled tokens of all prompts that are kept at most; bytes of their states, which bound it for
# wide models run far; different labels that are told apart.
MOST_TOKENS, MOST_BYTES, MOST_CLASSES = 1 << 13, 1 << 30, 256


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt and the labels of its tokens: by name, one for each token, "" where it has none."""

    prompt: Prompt
    labels: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Tokens:
    """Tokens of all prompts that are kept: which prompt each is of, and where; ``[n]`` each."""

    prompt: I64
    position: I64


def linear_probes(
    loaded: Loaded,
    labelled: Sequence[Labelled],
    how: HowRun,
    words: str,
    *,
    permutations: int = 20,
    seed: int = 0,
    report: Report = lambda share: None,
) -> LinearProbes:
    """Fit on one half of the prompts, drawn at random, and test on the other.

    Raises `LoopscopeError` with fewer than two prompts that have a label.
    """
    names = tuple(dict.fromkeys(name for one in labelled for name in one.labels))
    rng = np.random.default_rng(seed)
    arch = loaded.architecture
    places = Places(
        tuple(range(1, how.recurrences + 1)), tuple(map(arch.layer_mark, range(arch.n_block)))
    )
    most = max(64, min(MOST_TOKENS, MOST_BYTES // (4 * (len(places) + 1) * arch.d_model)))
    tokens = _chosen(labelled, most, rng)
    if len(np.unique(tokens.prompt)) < 2:
        raise LoopscopeError("a probe is fitted on some prompts and tested on others: label two")
    states = _states(loaded, labelled, how, tokens, lambda share: report(0.6 * share))
    prompts = rng.permutation(np.unique(tokens.prompt))
    fitted = np.isin(tokens.prompt, prompts[: (len(prompts) + 1) // 2])
    found, at = [], list(zip(tokens.prompt.tolist(), tokens.position.tolist(), strict=True))
    for i, name in enumerate(names):
        values = np.array([_label(labelled[p], name, t) for p, t in at])
        if not {*values[fitted]} & {*values[~fitted]} - {""}:
            raise LoopscopeError(f"too few prompts have the label “{name}” to fit and test a probe")
        found.append(_one(states, tokens, fitted, values, permutations, rng))
        report(0.6 + 0.4 * (i + 1) / len(names))
    shares = np.stack([own.shares for own in found], axis=1)
    return LinearProbes(
        model=loaded.checkpoint.name,
        places=places,
        labels=names,
        accuracy=wilson_share(shares),
        null=np.stack([own.null for own in found]),
        commonest=np.array([own.commonest for own in found]),
        classes=np.array([own.classes for own in found]),
        left_out=np.array([own.left_out for own in found]),
        fitted=len(np.unique(tokens.prompt[fitted])),
        tested=len(np.unique(tokens.prompt[~fitted])),
        fitted_tokens=np.array([own.tokens[0] for own in found]),
        tested_tokens=np.array([own.tokens[1] for own in found]),
        permutations=permutations,
        prompts=words,
    )


def _label(one: Labelled, name: str, token: int) -> str:
    values = one.labels.get(name)
    return "" if values is None else values[token]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What was found of one label; ``shares`` is ``[P, N + 1]``, NaN where a prompt has none."""

    shares: F64
    null: F64
    commonest: float
    classes: int
    left_out: float
    tokens: tuple[int, int]


def _one(
    states: Sequence[F32], tokens: _Tokens, fitted: Bools, values: np.ndarray,
    permutations: int, rng: np.random.Generator,
) -> _Found:  # fmt: skip
    """Fit and test one label, ``values`` of each token ("" for none)."""
    has = values != ""
    names, counts = np.unique(values[has & fitted], return_counts=True)
    known = names[np.argsort(-counts, kind="stable")][:MOST_CLASSES]
    told = np.isin(values, known)
    fit, test = np.flatnonzero(fitted & told), np.flatnonzero(~fitted & told)
    number = {label: i for i, label in enumerate(known.tolist())}
    labels = np.array([number.get(value, -1) for value in values.tolist()], np.int64)
    of_prompt = np.unique(tokens.prompt[~fitted], return_inverse=True)[1]
    which = of_prompt[np.searchsorted(np.flatnonzero(~fitted), test)]
    n_prompts = int(of_prompt.max()) + 1
    shuffled = [_permuted(labels[fit], tokens.position[fit], rng) for _ in range(permutations)]
    shares, null = [], []
    for x in states:
        reader = RidgeReader(x[fit])

        def right(of: I64, x: F32 = x, reader: RidgeReader = reader) -> Bools:
            is_right: Bools = reader.classes_of(x[test], of, len(known)) == labels[test]
            return is_right

        shares.append(_by_prompt(right(labels[fit]), which, n_prompts))
        means = [np.nanmean(_by_prompt(right(of), which, n_prompts)) for of in shuffled]
        null.append(float(np.percentile(means, 95)) if means else float("nan"))
    return _Found(
        np.stack(shares, axis=1), np.array(null), float((labels[test] == 0).mean()), len(known),
        1 - float(told.sum() / has.sum()), (len(fit), len(test)),
    )  # fmt: skip


def _by_prompt(right: Bools, which: I64, n: int) -> F64:
    """Share that is right in each of ``n`` prompts; NaN in one without a token."""
    total = np.bincount(which, minlength=n)
    good = np.bincount(which, right, minlength=n)
    return np.where(total > 0, good / np.maximum(total, 1), np.nan)


def _permuted(labels: I64, positions: I64, rng: np.random.Generator) -> I64:
    """Labels in another order, each staying at its position."""
    out = labels.copy()
    for position in np.unique(positions):
        at = np.flatnonzero(positions == position)
        out[at] = labels[rng.permutation(at)]
    return out


def _chosen(labelled: Sequence[Labelled], most: int, rng: np.random.Generator) -> _Tokens:
    """The tokens that have a label; as many of each prompt as there is room for, drawn."""
    room = max(1, most // max(len(labelled), 1))
    prompt, position = [], []
    for i, one in enumerate(labelled):
        n = len(one.prompt.token_ids)
        has = [t for t in range(n) if any(values[t] for values in one.labels.values())]
        if len(has) > room:
            has = sorted(rng.choice(has, room, replace=False).tolist())
        prompt += [i] * len(has)
        position += has
    return _Tokens(np.array(prompt, np.int64), np.array(position, np.int64))


def _states(
    loaded: Loaded, labelled: Sequence[Labelled], how: HowRun, tokens: _Tokens, report: Report
) -> list[F32]:
    """States of the chosen tokens, ``[n, d]`` at the start and after every layer."""
    capture = Capture(patterns=False, writes=False, readout=False)
    parts: dict[int, F32] = {}
    for i, recording in run_each(loaded, [one.prompt for one in labelled], how, capture, report):
        at = tokens.position[tokens.prompt == i]
        layers = recording.layer_states.reshape(-1, *recording.layer_states.shape[2:])
        parts[i] = np.concatenate([recording.states[:1, at], layers[:, at]])
    return list(np.concatenate([parts[i] for i in range(len(labelled))], axis=1))
