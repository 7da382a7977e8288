"""The application: command line, window, and the wiring between core and widgets.

May import `widgets` and `core`. Rooms, each of which may import those below it::

    cli                                  the `loopscope` command
    window                               what a person works in
    notebook                             models and runs for scripts, without Qt
    bench | figures | report             what is shown | files that are written | a page to hand on
    plugins                              what other packages add
    views                                the table of all views
    view_spec | display                  what the app knows of one view | whether there is a screen

Start with `bench.bench`, then `window.window`.
"""
