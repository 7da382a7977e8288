"""The window: docks, commands, files, settings, exports.

May import `bench` and below. Start with `window`, then `docks` and `actions`.
"""
