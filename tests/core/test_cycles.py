"""Heads and cycles of a model: against a plain forward's patterns and states."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from models import plain_forward, random_model

from loopscope.app.cli import measure_cycles
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.cycles import HOPS, PASSES, measure_cycle, read_cycles
from loopscope.core.experiments.studies.subject import Subject, prompts
from loopscope.core.over_prompts.head_bound import head_bound


def test_changes_and_distances_are_those_of_plain_forwards(monkeypatch) -> None:
    compared = []

    def kept(layer, before, after):
        compared.append(head_bound(layer, before, after))
        return compared[-1]

    monkeypatch.setattr("loopscope.core.experiments.cycles.head_bound", kept)
    model, n = random_model(seed=3), 3
    row = measure_cycle(Subject(model, 2), "tiny", n)
    truth = [plain_forward(model, tuple(tokens), PASSES) for tokens in prompts(n, HOPS).tokens]
    patterns = np.stack([one["patterns"] for one in truth])  # [P, R, L, H, T, T]
    change = np.linalg.norm(np.diff(patterns, axis=1), axis=(-2, -1))  # [P, R - 1, L, H]
    assert row.changes == change.size
    found = np.stack([one.change for one in compared])
    np.testing.assert_allclose(
        found.reshape(PASSES - 1, 2, n, -1), change.transpose(1, 2, 0, 3), atol=2e-5
    )
    assert row.within == 1.0
    assert 1 < row.bound[0] < row.bound[1]
    ends = np.stack([one["layers"][-1] for one in truth])  # [P, L, T, d]
    pairs = [np.square(ends[a] - ends[b]).sum(-1).mean() for a, b in combinations(range(n), 2)]
    assert row.between_prompts == pytest.approx(np.sqrt(np.mean(pairs)), rel=1e-4)
    layers = np.square(ends[:, 0] - ends[:, 1]).sum(-1).mean()
    assert row.between_layers == pytest.approx(np.sqrt(layers), rel=1e-4)


def test_only_what_is_looped_is_measured() -> None:
    with pytest.raises(ValueError, match="only a looped model"):
        measure_cycle(Subject(load("bundled:deep", "cpu").model, 2), "deep", 2)


def test_rows_are_read_as_they_were_written(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "cycles.json"
    monkeypatch.setattr(measure_cycles.sys, "argv", ["", str(file), "bundled:looped"])
    monkeypatch.setattr("loopscope.core.experiments.cycles.PASSES", 3)
    measure_cycles.main()
    (row,) = read_cycles(file)
    assert (row.model, row.changes) == ("bundled:looped", 2 * 2 * 4 * 16)
    assert json.loads(file.read_text())[0]["bound"] == list(row.bound)
    file.write_text('[{"model": "x"}]')
    with pytest.raises(LoopscopeError, match="holds no measured cycles"):
        read_cycles(file)
