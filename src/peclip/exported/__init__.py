"""Models that `peclip export` wrote: reading their files and predicting with them, without torch.

Belongs here: one file per format, the facts that a file holds, and the predictor they share.
Belongs elsewhere: writing the files, which needs the network (`exporting`).
"""
