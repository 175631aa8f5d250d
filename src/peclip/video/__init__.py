"""From a source to windows of face crops: pixels in, pixels out.

Belongs here: sources, sampling, faces, tracking, windows, crops and face parts. `reader.open_video` opens any source.
Belongs elsewhere: models, data sets, labels and configuration, which nothing here imports.
"""
