"""What is to be loaded, as one value that travels from the command line to the loading."""

from __future__ import annotations

from dataclasses import dataclass

# (first, last, damping): layers ``first`` to ``last - 1`` of a deep model are looped.
Loop = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A checkpoint to load, and how.

    path : a folder, or ``bundled:NAME``.
    device : "auto", "cuda", "mps" or "cpu".  dtype : "float32", "bfloat16" or "float16".
    loop : the span of a deep model's layers that is looped, or None for the model as it is.
    family : name of the family that the folder is read as, whatever it says; empty for its own.
    on : address of the scheduler on a worker of which it is loaded; empty for this process.
    """

    path: str
    device: str = "auto"
    dtype: str = "float32"
    loop: Loop | None = None
    family: str = ""
    on: str = ""
