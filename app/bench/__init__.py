"""What the window works on: runs, cursor, analyses, measurements; no menus and no docks.

May import the root files of app, core and widgets. Start with `bench`.
"""
