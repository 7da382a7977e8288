"""A page that shows a run in any browser. Start with `page`.

`content` takes numbers out of the views' data; `packing` makes them small; `page` puts them,
the drawing library and `resources/report` into one file. No Qt.
"""
