"""Where a model comes from: the folder's headers, the bytes of its weights, the device it runs on.

May import `families`, `prompts`, `model` and the root files of core. Start with `folder`, then
`loading`. A checkpoint is untrusted: nothing of it is executed.
"""
