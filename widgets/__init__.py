"""Qt widgets: plain data in, signals out. No widget ever sees a model.

May import `core`, the parts without torch. Rooms, each of which may import those below it::

    figures                              the page, with matplotlib and without Qt
    views                                one file or folder for each view
    bars | runs                          transport, prompt, scrub bar | runs, the form of a cut
    plots                                curves and matrices that views share
    kit                                  View, its frame, settings form, dialogs, theme, icons
    palette                              colours

Start with `kit.view`, then `views.distance`.
"""
