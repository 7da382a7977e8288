"""A model on a worker elsewhere: the window, its recordings and its views stay here.

`cluster` finds workers, `seat` is what lives on one, with its `tasks`; `connection` calls it and
notices its loss; `model` (over `seated`) and `run` stand here where a loaded model and a stepper
would; `facts`, `packing` and `far_rows` say what travels. `cluster` and `connection` are the only
files that know Dask. May import `analyses` and below. Start with `seat`, then `model`.
"""
