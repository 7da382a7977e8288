"""The panel of a study: what is drawn of it, how far it is, and the choices.

May import `plots`, `kit` and `palette`. Start with `panel`.
"""
