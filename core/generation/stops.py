"""Which tokens end a text: what the checkpoint's folder says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopscope.core.checkpoint.folder import Checkpoint, read_json
from loopscope.core.errors import LoopscopeError


def stop_ids(checkpoint: Checkpoint) -> frozenset[int]:
    """`stop_ids_of` a checkpoint."""
    return stop_ids_of(checkpoint.path, checkpoint.config)


def stop_ids_of(folder: Path, config: dict[str, Any]) -> frozenset[int]:
    """Ids of ``eos_token_id``, of `generation_config.json` where it has one, else of the config."""
    path = folder / "generation_config.json"
    own: object = None
    if path.is_file():
        try:
            own = read_json(path).get("eos_token_id")
        except LoopscopeError:
            own = None  # nothing that a run depends on
    given = config.get("eos_token_id") if own is None else own
    ids = given if isinstance(given, list) else [given]
    return frozenset(i for i in ids if isinstance(i, int) and not isinstance(i, bool))
