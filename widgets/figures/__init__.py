"""The page: matplotlib drawings of the same data the screen shows. No Qt in here.

May import `palette` and what of `plots` is without Qt. Start with `style`, then `curves`.
"""
