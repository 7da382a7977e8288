"""Studies of several models: training them, scoring them, taking them apart, the results as data.

May import `over_prompts`, `dynamics` and below. Start with `training`, then `study`.
"""
