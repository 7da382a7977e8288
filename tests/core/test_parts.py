"""Parameters, graph and trajectory of a model: against cards, plain forwards and one another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models import plain_forward, random_model

from loopscope.app.cli.measure_parts import write
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.parts import (
    AFTER,
    DELAY,
    HOPS,
    NOISE,
    OVERWRITTEN,
    Amounts,
    Parts,
    measure_parts,
    read_parts,
)
from loopscope.core.experiments.studies.subject import Subject, prompts

FEW = Amounts(prompts=12, interchange=12, fitted=120, tested=20, draws=2)


@pytest.fixture(scope="module")
def orbit() -> Parts:
    return measure_parts(Subject(load("bundled:orbit", "cpu").model, 2), "orbit", "walker", 2, FEW)


def test_what_a_walker_loses_and_what_it_does_not(orbit: Parts) -> None:
    assert orbit.uncut > 0.97
    assert (len(orbit.shared), len(orbit.anew)) == (len(NOISE), len(NOISE))
    assert orbit.shared[0] < orbit.shared[1]
    assert min(orbit.lasting.values()) > 0.5
    assert {"layer 0 gone", "layers swapped", "injection gone"} < set(orbit.lasting)
    for name, lost in orbit.once.items():
        as_it_is, clean, zero = lost
        assert clean == pytest.approx(0, abs=1e-9), name  # a check: everything is put back
        assert abs(zero) < 0.03, name  # begun again, the walk comes late and whole
        assert as_it_is > 0.2, name
    zero, random, other = orbit.overwritten
    assert abs(zero) < 0.05 < other
    assert random > zero
    assert min(orbit.exchanged) > 0.6
    assert min(orbit.edges_kept) > 0.9


def test_a_probe_reads_the_hop_that_the_walk_has_reached(orbit: Parts) -> None:
    probe = np.array(orbit.probe)
    assert probe.shape == (7, 7)
    assert np.diag(probe)[1:].min() > 0.5
    assert np.triu(probe[1:], 2).max() < 0.35  # nothing beyond it


def test_the_uncut_share_is_that_of_plain_forwards() -> None:
    model = random_model(seed=3)
    parts = measure_parts(Subject(model, 2), "tiny", "walker", 0, FEW)
    batch = prompts(FEW.prompts, HOPS)
    shares = []
    for delay in range(DELAY + 1):
        right = [
            (plain_forward(model, tuple(tokens), int(k) + delay)["logits"][-1][-8:].argmax(-1)
             == answers).mean()
            for tokens, answers, k in zip(batch.tokens, batch.answers, batch.hops, strict=True)
        ]  # fmt: skip
        shares.append(np.mean(right))
    assert parts.uncut == pytest.approx(max(shares))


def test_rows_are_read_as_they_were_written(orbit: Parts, tmp_path: Path) -> None:
    file = tmp_path / "parts.json"
    write(file, [orbit, orbit])
    rows = read_parts(file)
    assert [row.as_json() for row in rows] == [orbit.as_json()] * 2
    assert len(rows[0].once["layer 0 gone"]) == len(AFTER)
    assert len(rows[0].overwritten) == len(OVERWRITTEN)
    assert len(json.loads(file.read_text())) == 2
    file.write_text('[{"model": "m"}]')
    with pytest.raises(LoopscopeError, match="no measured parts"):
        read_parts(file)
