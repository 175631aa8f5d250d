"""From a source to windows of face crops: pixels in, pixels out.

Belongs here: sources, sampling, faces, tracking, windows, crops and face parts, as numpy arrays (T, H, W, 3).
`reader.open_video` opens any source.
Belongs elsewhere: tensors (`nn.preprocess`), models, data sets, labels and configuration, which nothing here imports.
"""
