"""What is changed in a run, as data: where, what, how strong. `registry` lists the kinds.

An intervention says *what* is done; `applied` does it while a run is stepped. So it can be saved,
exported with a figure, and replayed exactly.
"""
