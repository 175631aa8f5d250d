"""The training loop of any model, in plain torch: steps, epochs, validation, state, experiment trackers.

Belongs here: everything from a network and splits to a trained network.
Belongs elsewhere: recipes, run folders and folds (`runs`), which nothing here imports.
"""
