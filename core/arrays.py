"""Types of arrays, by what they hold; shapes are said where they are used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
C128 = npt.NDArray[np.complex128]
I64 = npt.NDArray[np.int64]
U16 = npt.NDArray[np.uint16]
Bools = npt.NDArray[np.bool_]
# Of any precision.
Floats = npt.NDArray[np.floating]
