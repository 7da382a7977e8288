"""The command line: arguments in, exit code out. Start with `main`.

May import `window` and `bench`, late, so that commands without a window need no Qt.
"""
