"""Sessions: what a window shows as one small file, and its runs made again from it.

`saved` says what is in it, `file` reads and writes it, `rebuild` runs it again. May import
`recordings` and below. Start with `saved`.
"""
