"""What `import loopscope` gives a script or a notebook: models, runs, their numbers and figures.

No Qt: a window is a process of its own. May import `figures` and what is below it. Start with
`model`, then `run`. ``package/__init__.py`` names what is public.
"""
