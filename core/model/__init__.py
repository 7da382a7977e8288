"""What runs: the architecture as data, the layers, the looped model, its graph, weight identity.

May import the root files of core. Start with `architecture` (no torch), then `looped_model`.
"""
