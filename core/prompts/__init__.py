"""What a model is asked: the tokenizer, prompt sets, their answers, what runs of a model share.

May import `checkpoint` and below. Start with `prompt_set`.
"""
