"""What every view is made of: theme, frame, settings form, dialogs, the `View` base.

May import `palette`. Start with `view`, then `frame`.
"""
