"""Plots that know no view: curves, log axes, matrices and their marks.

May import `kit`. Start with `curve_plot` and `matrix`.
"""
