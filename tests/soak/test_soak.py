"""The window under a seeded random user: no crash, hang, uncaught error or leaked widget.

Three minutes in the gate; two hours with `python -m pytest tests/soak --minutes 120 --seed 7`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

DRIVER = Path(__file__).with_name("driver.py")
# Megabytes an hour that memory may grow after the first fifth, where an hour or more is measured.
GROWTH = 60.0


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_random_user_breaks_nothing(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    minutes = request.config.getoption("--minutes", default=None) or 3.0
    seed = request.config.getoption("--seed", default=None)
    command = [sys.executable, str(DRIVER), "--minutes", str(minutes), "--folder", str(tmp_path)]
    command += ["--seed", str(7 if seed is None else seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    said += f"\nthe last deeds:\n{last_deeds(tmp_path / 'deeds.txt')}"
    assert done.returncode == 0, said
    assert lines[-1]["trouble"] == []
    if minutes >= 60:
        slope, low, high = growth([line["rss_mb"] for line in lines[:-1]])
        print(f"memory: {slope:.1f} MB an hour, 95 % interval {low:.1f} to {high:.1f}")
        assert low <= GROWTH, said


def last_deeds(trail: Path, n: int = 12) -> str:
    """The last ``n`` lines of what the random user did."""
    return "\n".join(trail.read_text(encoding="utf-8").splitlines()[-n:]) if trail.exists() else ""


def growth(megabytes: list[float]) -> tuple[float, float, float]:
    """Slope of a reading a minute, MB an hour, after the first fifth, with its 95 % interval."""
    kept = np.array(megabytes[len(megabytes) // 5 :])
    fit = stats.linregress(np.arange(len(kept)) / 60, kept)
    reach = stats.t.ppf(0.975, len(kept) - 2) * fit.stderr
    return fit.slope, fit.slope - reach, fit.slope + reach
