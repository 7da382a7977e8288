"""Trajectories on chosen axes, and what is drawn beside them. Start with `compute`."""
