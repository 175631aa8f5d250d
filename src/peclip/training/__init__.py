"""The training loop of any model, in plain torch: steps, epochs, validation, state, experiment trackers.

Belongs here: what happens between a network with splits and a trained network.
Belongs elsewhere: recipes, run folders and folds (`runs`), which nothing here imports.
"""
