"""One training of `loopscope reproduce`, in a process of its own: VARIANT SEED FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Train, or go on with a training that was stopped."""
    import torch

    from loopscope.core.ablations import VARIANTS, train

    key, seed, root = sys.argv[1:4]
    torch.set_num_threads(1)
    train(next(v for v in VARIANTS if v.key == key), int(seed), Path(root))


if __name__ == "__main__":
    main()
