"""What a model is asked: the tokenizer, prompt sets, their answers, what runs of a model share.

May import `model` and the root files of core. Start with `prompt_set`.
"""
