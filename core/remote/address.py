"""Addresses of schedulers, and whether what reaches them is installed; imports nothing heavy."""

from __future__ import annotations

import importlib.util

from loopscope.core.errors import LoopscopeError

PORT = 8786
SCHEMES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")


def check_installed() -> None:
    """Raise `LoopscopeError` where the extra is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise LoopscopeError("this needs the extra: pip install 'loopscope[cluster]'")


def check_address(address: str) -> None:
    """Raise `LoopscopeError` for what is no address, and without the extra."""
    check_installed()
    if not address.startswith(SCHEMES):
        raise LoopscopeError(f"'{address}' is no address such as tcp://host:{PORT}")
