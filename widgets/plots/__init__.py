"""Plots that know no view: curves, log axes, matrices and their marks.

May import `kit`. Start with `curve_plot` (on `click_plot`) and `matrix` (on `painted_grid`).
"""
