"""Model weights: from a name to configuration and tensors, model folders, model cards, conversion.

Belongs here: how models are found, loaded, saved and described.
Belongs elsewhere: downloading (`downloads`), networks (`models`), and using a loaded model (`recognizers`).
"""
