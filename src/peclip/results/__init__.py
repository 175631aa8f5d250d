"""Results of a model for a source: rows, predictions, summaries, output files and the timeline plot.

Belongs here: the output of `predict`, its summaries and its file formats; no torch, so that results load fast.
Belongs elsewhere: computing rows (`inference`) and scores against targets (`metrics`).
"""
