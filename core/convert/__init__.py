"""Make a checkpoint folder of what people have: pickled state dicts, GGUF, models of their own.

May import `checkpoint`, `families`, `model` and the root files of core. Start with `convert`.
Pickles and GGUF are read by `unpickle` (as weights only) and `gguf_file` in processes of their own.
"""
