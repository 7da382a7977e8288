"""The readout after every layer. Start with `compute`."""
