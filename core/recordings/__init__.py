"""Runs that are kept in files: written while they are made, opened without their checkpoint.

May import `measures` and below. Start with `writing`, then `reader`; `docs/recordings.md` is the
layout.
"""
