"""Stepping and measuring looped transformers; numpy and torch, no Qt.

Rooms, each of which may import those below it (import-linter holds them to it)::

    sweeps                               grids of runs on a cluster
    remote                               a model on a worker elsewhere
    analyses                             measurements that take long, by view
    views                                what a view shows, as data
    experiments | convert | sessions     models trained, compared | files made into folders | saved
    generation | over_prompts | dynamics  a text continued | many prompts | the map of a recurrence
    recordings                           runs in files, with their branches
    measures                             functions of arrays
    run                                  one run, stepped and kept
    checkpoint                           from a folder to a model on a device
    families | interventions | prompts   what is known of a folder | changed in a run | asked
    model                                what runs
    the files beside this one            errors, files, formula, labels, options, selection, ...

Start with `run.stepper`, then `run.recording`.
"""
