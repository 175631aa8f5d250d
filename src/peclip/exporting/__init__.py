"""Writes models to files that other programs compute, and checks them.

Belongs here: the computation that a file holds, one file per format, and the comparison with the network.
Belongs elsewhere: reading and running the files, which needs no torch (`exported`).
"""
