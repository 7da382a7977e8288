"""The bars round the views: header, prompt, tokens, transport, scrub bar.

May import `kit`. Start with `prompt_bar` and `transport`.
"""
