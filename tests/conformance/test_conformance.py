"""Some cases of the space of configs on each run; `python -m tests.conformance` runs any number."""

from __future__ import annotations

import pytest

from conformance.__main__ import summary
from conformance.looped import FAMILIES
from conformance.running import run, run_plain
from conformance.space import PLAIN, PUBLISHED

EACH, BLOCKS = 25, 8


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_models_compute_what_is_published(block: int) -> None:
    results = [run(seed) for seed in range(block * EACH, (block + 1) * EACH)]
    assert [r for r in results if r.outcome in ("wrong", "refused")] == []
    assert sum(r.outcome == "agrees" for r in results) >= EACH - 4, summary(results)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_looped_families_compute_what_their_formulas_say(family: str) -> None:
    results = [run_plain(family, seed) for seed in range(30)]
    assert [r for r in results if r.outcome != "agrees"] == []


def test_the_cases_are_of_every_family() -> None:
    assert len(PUBLISHED) + len(PLAIN) == 23
