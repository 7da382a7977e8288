"""Where does it live, on paper."""

from loopscope.widgets.figures.curves import draw_curves as draw

__all__ = ["draw"]
