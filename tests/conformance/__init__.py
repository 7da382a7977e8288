"""Small models of every family over the space of their configs, against what is published.

`python -m tests.conformance --count 5000` runs as many and says how many agree.
"""
