"""Face captions written by a multi-modal language model: FineCLIPER's third input.

Belongs here: the prompt, the captioning models, and the file of captions.
Belongs elsewhere: reading finished captions (`data.caption_file`).
"""
