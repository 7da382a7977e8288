"""The figures of arXiv 2604.11791 for any looped model and a prompt file.

`plan` says what is done to every prompt, `numbers` does it on one (here or on a worker), `folder`
keeps what came of it, `running` is who does what, `pool` puts prompts together and `findings` says
what was expected and what was found. May import `remote` and below.
"""
