"""Fetching files over the network: from fixed addresses and from a model hub.

Belongs here: opening connections for weights, detector models and source videos, verifying and caching the files.
Belongs elsewhere: what a model name means (`weights`) and what a file contains (`nn`, `weights`).
"""
