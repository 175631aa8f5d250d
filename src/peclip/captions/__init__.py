"""Face captions written by a multi-modal language model: FineCLIPER's third input.

Belongs here: the prompt, the models that answer it, and the file that grows.
Belongs elsewhere: reading finished captions (`data.caption_file`).
"""
