"""One view, one file (or one folder): each draws the ``Data`` of its module in `core.views`.

May import `plots` and `kit`; no view imports another. Start with `distance`, the smallest.
"""
