"""The networks, one file per paper, and the texts that describe labels.

Belongs here: building a network from a configuration, and computing logits from a batch.
Belongs elsewhere: finding and loading weights (`weights`), and blocks shared by several models (`nn`).
"""
