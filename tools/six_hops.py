"""Write prompts that all ask for 6 hops, so that states are on the way.

python tools/six_hops.py FILE.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from loopscope.core.experiments.hops import VOCABULARY, make_batch, text_of

N_PROMPTS, HOPS, SEED = 192, 6, 4_000_037


def main(file: str) -> None:
    """Draw them, with answers, and write them a line each."""
    batch = make_batch(np.random.default_rng(SEED), np.full(N_PROMPTS, HOPS))
    lines = [
        json.dumps({"prompt": text_of(row), "answer": " ".join(VOCABULARY[t] for t in answers)})
        for row, answers in zip(batch.tokens, batch.answers, strict=True)
    ]
    Path(file).write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
