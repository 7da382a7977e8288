"""What every view is made of: theme, frame, settings form, dialogs, the `View` base.

May import the root files of core and `loopscope.widgets.palette`. Start with `view`, then `frame`.
"""
