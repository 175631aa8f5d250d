"""The networks, one file per paper, and the texts that describe labels.

Belongs here: what turns a configuration into a network, and a batch into logits.
Belongs elsewhere: finding and loading weights (`weights`), and blocks shared by several models (`nn`).
"""
