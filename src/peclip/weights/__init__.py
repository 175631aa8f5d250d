"""Model weights: from a name to configuration and tensors, model folders, model cards, conversion.

Belongs here: finding, loading, saving and describing models.
Belongs elsewhere: downloading (`downloads`), networks (`models`), and using a loaded model (`recognizers`).
"""
