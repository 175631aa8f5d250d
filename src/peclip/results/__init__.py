"""What a model says of a source: rows, predictions, output files and the timeline plot.

Belongs here: what `predict` returns and how it is written; no torch, so that results can be read without it.
Belongs elsewhere: how rows are made (`inference`) and scores against targets (`metrics`).
"""
