"""Qt widgets: plain data in, signals out. No widget ever sees a model."""
