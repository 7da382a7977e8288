"""Run cases and print how many agree, are refused by which reason, and are wrong.

python -m tests.conformance [--count 5000] [--first 0] [--list]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".dev")]

from conformance.running import Result, run  # noqa: E402


def main() -> int:
    """Run; the exit code is 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument(
        "--list", action="store_true", help="also print each case that is not right"
    )
    args = parser.parse_args()
    results = []
    for seed in range(args.first, args.first + args.count):
        results.append(run(seed))
        if results[-1].outcome == "wrong" or (args.list and results[-1].outcome != "agrees"):
            print(results[-1], flush=True)
    print(summary(results))
    return int(any(result.outcome == "wrong" for result in results))


def summary(results: list[Result]) -> str:
    """The counts, as lines."""
    outcomes = Counter(result.outcome for result in results)
    families = sorted({result.family for result in results})
    lines = [f"{len(results)} cases: " + ", ".join(f"{n} {name}" for name, n in outcomes.items())]
    for family in families:
        counts = Counter(r.outcome for r in results if r.family == family)
        lines.append(f"  {family:<16} " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    for outcome in ("refused", "not published"):
        reasons = Counter(r.reason.split("\n")[0][:110] for r in results if r.outcome == outcome)
        if reasons:
            lines.append(f"{outcome}:")
            lines += [f"  {n:>5}  {reason}" for reason, n in reasons.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
