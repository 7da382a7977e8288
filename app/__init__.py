"""The application: command line, window, and the wiring between core and widgets."""
