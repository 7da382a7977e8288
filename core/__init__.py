"""Stepping and measuring looped transformers; numpy and torch, no Qt.

Rooms, each of which may import those below it (import-linter holds them to it)::

    analyses                             heavy measures, by view
    views                                what a view shows, as data
    experiments                          models trained, taken apart and compared
    over_prompts | dynamics              many prompts | the map of one recurrence
    measures                             functions of arrays
    run                                  one run, stepped and kept
    checkpoint                           from a folder to a model on a device
    families | interventions | prompts   what is known of a folder | changed in a run | asked
    model                                what runs
    the files beside this one            errors, files, formula, labels, options, selection
"""
