"""Face crops of whole data sets, made once, and the record of how they were made.

Belongs here: what `peclip data prepare` does.
Belongs elsewhere: detecting and cropping faces (`video`).
"""
