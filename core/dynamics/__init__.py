"""Measures that need the model: the map of one recurrence, its derivatives, searches over it.

May import `measures` and below. Start with `recurrence_map`.
"""
