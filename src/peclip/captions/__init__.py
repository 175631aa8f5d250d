"""Captions of faces, written by a multi-modal language model: FineCLIPER's third input."""
