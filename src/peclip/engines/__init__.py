"""Many sources: read sequentially in this process, or by the workers of a Ray cluster.

Belongs here: engines, shards of the work, and the journal that makes an output resumable.
Belongs elsewhere: reading one source (`inference`), and output formats (`results`).
"""
