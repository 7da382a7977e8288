"""The computation graph on the screen. Start with `view`."""
