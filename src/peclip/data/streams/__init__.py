"""Inputs of a model besides the frames, such as face parts and captions.

Belongs here: one file for each stream, with its values and where they come from in training and in prediction.
Belongs elsewhere: the networks that read the values (`models`), and how a part or a caption is found (`video`,
`captions`).
"""
