"""Data sets, one file each, and what several of them share.

Belongs here: how the lists and folders of a data set become splits. A data set is a `Benchmark` and an entry in
`registry.DATASETS`.
Belongs elsewhere: what is done with splits (`data.splits`, `data.dataset`).
"""
