"""Measures: plain functions of arrays, each with its formula, unit and source.

May import `run` and below, and no torch. Start with `base`, then `settling`.
"""
