"""Runs: from a recipe to a trained model and its report, and evaluation of a model on a data set.

Belongs here: recipes, run folders, the splits of a run, one fold or all, and leakage checks.
Belongs elsewhere: the training loop (`training`), and computing scores (`metrics`).
"""
