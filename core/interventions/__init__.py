"""What is changed in a run, as data: where, what, how strong. `registry` lists the kinds.

An intervention says *what* is done; `applied` does it while a run is stepped. So it can be saved,
exported with a figure, and replayed exactly. May import `model` and the root files of core. Start
with `base`, then `applied`.
"""
