"""The panel of runs and cuts: the tree of runs, the form of a cut, the span of a loop.

May import `kit`. Start with `runs_panel`.
"""
