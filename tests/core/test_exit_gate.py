"""The exit gate: its distribution by hand, by simulation, and as Ouro's own numbers give it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loopscope.core.checkpoint.loading import load
from loopscope.core.measures.exit_gate import exit_distribution, exit_recurrence, survival
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.readout import Options, compute, table

OURO = Path(__file__).parents[1] / "data" / "reference" / "ouro-tiny"


def test_the_distribution_by_hand() -> None:
    hazards = np.array([[0.5, 0.0], [0.5, 1.0], [0.1, 0.3]], np.float32)
    np.testing.assert_allclose(survival(hazards), [[1, 1], [0.5, 1], [0.25, 0]], atol=1e-7)
    expected = [[0.5, 0], [0.25, 1], [0.25, 0]]  # the last takes the rest
    np.testing.assert_allclose(exit_distribution(hazards), expected, atol=1e-7)
    assert exit_recurrence(hazards, 0.7).tolist() == [2, 2]
    assert exit_recurrence(hazards, 1.0).tolist() == [3, 2]
    assert exit_recurrence(hazards[:0], 0.5).tolist() == [0, 0]


def test_the_distribution_is_how_often_a_walker_leaves() -> None:
    rng = np.random.default_rng(0)
    hazards = rng.random((5, 1)).astype(np.float32)
    leaves = rng.random((5, 200_000)) < hazards
    at = np.where(leaves.any(0), leaves.argmax(0), 4)
    share = np.bincount(at, minlength=5) / at.size
    np.testing.assert_allclose(exit_distribution(hazards)[:, 0], share, atol=0.005)


def test_the_readout_shows_what_ouros_own_gate_says() -> None:
    truth = np.load(OURO / "expected.npz")
    loaded = load(str(OURO), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(tuple(truth["input_ids"][0].tolist())))
    assert not compute(recording, Selection(), Options()).has_exits
    for _ in range(4):
        stepper.step()
    hazards = 1 / (1 + np.exp(-truth["exit_gate_logits"].astype(np.float64)))
    data = compute(recording, Selection(), Options())
    np.testing.assert_allclose(data.hazards, hazards, atol=1e-5)
    p, left = np.zeros_like(hazards), np.ones(hazards.shape[1])
    for r in range(4):
        p[r] = left * (hazards[r] if r < 3 else 1)
        left = left * (1 - hazards[r])
    np.testing.assert_allclose(data.exits, p, atol=1e-5)
    mean = (np.arange(1, 5)[:, None] * p).sum(0).mean()
    assert f"mean exit at recurrence {mean:.2f}" in data.statement
    rows = list(table(data).rows)
    assert table(data).columns[-2:] == ("hazard [probability]", "exit probability")
    np.testing.assert_allclose(rows[0][-2:], (hazards[0, 0], p[0, 0]), atol=1e-5)
