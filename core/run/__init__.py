"""One run, stepped and kept: the stepper, its recording, the worker thread around it.

May import `prompts` and below. Start with `stepper`, then `recording`, then `runner`.
"""
