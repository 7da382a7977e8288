"""One measure over many prompts, and how well prompts are answered.

May import `measures` and below, not `dynamics`. Start with `measuring`.
"""
