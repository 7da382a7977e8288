"""Find the checkpoint that a recording was made with; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from loopscope.core.checkpoint.folder import folder_name, looped_checkpoint, open_checkpoint
from loopscope.core.checkpoint.hashing import weights_hash
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.run.recording import Recording

BUNDLED = "bundled:"


def request_for(
    recording: Recording, path: str, device: str = "auto", family: str = ""
) -> LoadRequest:
    """Return what loads the checkpoint at ``path`` as the recording's model was loaded."""
    arch = recording.info.architecture
    loop = (arch.n_prelude, arch.n_prelude + arch.n_block, arch.damping)
    span = loop if arch.looped_span else None
    return LoadRequest(path, device, recording.info.dtype, span, family)


def why_another(recording: Recording, request: LoadRequest) -> str:
    """Say why a checkpoint is not the one that a recording was made with, or ""; reads weights.

    Raises `LoopscopeError` for what cannot be opened.
    """
    checkpoint = open_checkpoint(request.path, request.family)
    if request.loop is not None:
        checkpoint = looped_checkpoint(checkpoint, request.loop)
    info = recording.info
    if checkpoint.architecture != info.architecture:
        return f"{checkpoint.name} has another architecture than the recording's {info.checkpoint}"
    if (found := weights_hash(checkpoint)) != info.weights_hash:
        return (
            f"{checkpoint.name} has other weights (sha256 {found[:12]}) than the recording's "
            f"{info.checkpoint} ({info.weights_hash[:12]})"
        )
    return ""


def find_checkpoint(
    recording: Recording, paths: Iterable[str], families: Mapping[str, str], device: str = "auto"
) -> tuple[LoadRequest | None, str]:
    """Return what loads the recording's model, or why nothing does.

    Looked at are those of ``paths`` that have the name of its checkpoint, and bundled models.
    ``families`` says what a path was asked to be read as.
    """
    name, problems = folder_name(recording.info.checkpoint), [""]
    bundled = [name] if name.startswith(BUNDLED) else []
    for path in dict.fromkeys([*bundled, *paths]):
        if path not in bundled and (Path(path).name != name or not Path(path).is_dir()):
            continue
        request = request_for(recording, path, device)
        request = replace(request, family=families.get(path, ""))
        try:
            problem = why_another(recording, request)
        except LoopscopeError as error:
            problem = str(error)
        if not problem:
            return request, ""
        problems.append(problem)
    return None, problems[-1] or f"its checkpoint {name} was not found"
