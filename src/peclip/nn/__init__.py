"""Bricks of the models. They take numbers and know no model, no config and no data set."""
