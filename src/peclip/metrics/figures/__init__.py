"""Figures of predictions and training runs: one file per figure, listed in `registry.FIGURES`.

Belongs here: drawing numbers that other modules of `metrics` compute, titles, colours and layout of these figures.
Belongs elsewhere: the numbers (`metrics`), reading run folders (`runs`), and figures of predictions for a video (`results`).
"""
