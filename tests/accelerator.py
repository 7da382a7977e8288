"""A device that is not there: tensors that say they are on it and hold their numbers on the CPU.

As Apple's devices do, it refuses float64 and hands no array to numpy before ``.cpu()``; tensors of
two devices do not mix. What runs on it runs on the CPU underneath, so its numbers are the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

# What torch is told to call the kind that it leaves to devices it does not know.
KIND = "simulated"
_NO_FLOAT64 = "this device has no float64"


class OnDevice(Tensor):
    """A tensor of the simulated device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        """Stand for a CPU tensor."""
        if held.dtype in (torch.float64, torch.complex128):
            raise TypeError(_NO_FLOAT64)
        # A view of a parameter that is made in inference mode is no inference tensor itself.
        with torch.inference_mode(False):
            made: OnDevice = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
                dtype=held.dtype, device=torch.device(KIND, 0), requires_grad=False,
            )  # fmt: skip
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, op: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run any operation on what is held."""
        return _run(op, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Catches what makes a tensor on the device where there was none."""

    def __torch_dispatch__(
        self, op: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(op, args, kwargs or {})


class _FromNumbers(TorchFunctionMode):
    """Two ways from Python's numbers to a tensor go past the mode above: they start on the CPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return torch.tensor(*args, **kwargs).to(device)
        if getattr(func, "__name__", "") == "__setitem__":
            x, places, value = args
            where = places if isinstance(places, tuple) else (places,)
            where = tuple(torch.tensor(i) if isinstance(i, list) else i for i in where)
            value = value if isinstance(value, Tensor) else torch.tensor(value, dtype=x.dtype)
            args = x, where, value.to(x.device)
        return func(*args, **kwargs)


# Operations of tensors of two devices that torch allows.
_MIXING = ("_to_copy", "copy_", "index", "index_put_", "index_put", "_index_put_impl_")


def _run(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    every = [*tree_flatten((args, kwargs))[0]]
    tensors = [x for x in every if isinstance(x, Tensor)]
    on = [x for x in tensors if isinstance(x, OnDevice)]
    wish = next((x for x in every if isinstance(x, torch.device)), None)
    to_device = bool(on) if wish is None else wish.type == KIND
    name = op._overloadpacket.__name__
    if on and name not in _MIXING:
        strangers = [x for x in tensors if not isinstance(x, OnDevice) and x.ndim]
        if strangers:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
    if name == "copy_":
        to_device = isinstance(args[0], OnDevice)
        if to_device and args[0] is not args[1] and args[1].dtype == torch.float64:
            raise TypeError(_NO_FLOAT64)
    if name == "_efficientzerotensor":  # which the CPU would compute nothing from
        op = torch.ops.aten.zeros.default
    inner_args, inner = tree_map(_held, (args, kwargs))
    out = op(*inner_args, **inner)
    if name.endswith("_") and not name.endswith("__") and isinstance(args[0], OnDevice):
        return args[0]
    return tree_map(_wrap, out) if to_device else out


def _held(x: Any) -> Any:
    if isinstance(x, torch.device) and x.type == KIND:
        return torch.device("cpu")
    return x.held if isinstance(x, OnDevice) else x


def _wrap(x: Any) -> Any:
    return OnDevice(x) if isinstance(x, Tensor) and not isinstance(x, OnDevice) else x


@contextmanager
def accelerator() -> Iterator[torch.device]:
    """Give a device of `KIND`, which torch has within."""
    register()
    with _FromNumbers(), _Factories():
        yield torch.device(KIND, 0)


@cache
def register() -> None:
    """Tell torch of the device, once, and before anything was differentiated."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(KIND)
