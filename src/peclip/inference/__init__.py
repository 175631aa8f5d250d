"""One source through a model: from frames to rows.

Belongs here: the session that reads one source, and prefetching.
Belongs elsewhere: many sources (`engines`), and the format of rows (`results`).
"""
