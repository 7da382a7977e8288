"""Make a checkpoint folder of what people have: pickled state dicts, GGUF, models of their own.

May import `checkpoint`, `families`, `model` and the root files of core. Start with `convert`.
Pickles are read by `unpickle` in a process of its own, as weights only.
"""
