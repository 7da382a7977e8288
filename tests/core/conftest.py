"""The tests' accelerator is there first: torch counts devices when it first differentiates."""

from __future__ import annotations

from accelerator import register

register()
