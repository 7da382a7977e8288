"""Continue a text, token by token, with keys and values kept. Start with `continuing`.

`exit_rules` says when a token leaves the loop, `sampling` which token comes next, `chat` how a
conversation is written as a prompt.
"""
