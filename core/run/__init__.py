"""One run, stepped and kept: the stepper, its recording, the worker thread around it.

May import `checkpoint` and below. Start with `stepper`, then `recording`, then `runner`.
"""
