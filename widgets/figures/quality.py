"""Quality against recurrences on paper."""

from loopscope.widgets.figures.curves import draw_curves as draw

__all__ = ["draw"]
