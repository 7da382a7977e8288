"""Measures: plain functions of arrays, each with its formula, unit and source."""
