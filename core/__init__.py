"""Stepping and measuring looped transformers. Nothing in this package imports Qt."""
