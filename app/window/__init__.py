"""The window: docks, commands, settings, exports. May import `bench`. Start with `window`."""
