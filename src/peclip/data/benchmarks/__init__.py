"""Data sets, one file each, and code shared by several of them.

Belongs here: how the lists and folders of a data set become splits. A data set is a `Benchmark` and an entry in
`registry.DATASETS`.
Belongs elsewhere: working with splits (`data.splits`, `data.dataset`).
"""
