"""Training and evaluation of any expression model, in plain torch."""
