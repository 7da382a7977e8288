"""Where does capability live: cut the parameters, the graph or the trajectory, see what is lost.

`conditions` lists the cuts, `running` makes them into a batch of prompts, `results` holds what was
found. A cut has a size of its own (noise over norm, a share of recurrences), and a *displacement*:
how far it moves the state in the first recurrence in which it acts. Every cut has that number, but
a cut that lasts acts again and again: displacements of lasting cuts and of cuts made once are not
comparable. May import `over_prompts` and below. Start with `conditions`.
"""
