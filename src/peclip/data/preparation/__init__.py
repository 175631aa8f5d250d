"""Face crops of whole data sets, made once, and the record of their settings.

Belongs here: the implementation of `peclip data prepare`.
Belongs elsewhere: detecting and cropping faces (`video`).
"""
