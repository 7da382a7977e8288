"""The state-space plotter. Start with `view`."""
