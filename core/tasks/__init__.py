"""Tasks that a looped model can be trained and evaluated on."""
