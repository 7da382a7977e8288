"""What every view is made of: theme, frame, settings form, dialogs, the `View` base.

Start with `view`, then `frame`.
"""
