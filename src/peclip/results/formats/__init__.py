"""File formats of rows and of episodes, one file each.

Belongs here: writers of rows to an open stream, and `registry`, which has an entry for each.
Belongs elsewhere: opening the output and its errors (`results.writers`), and reading such files (`results.row_file`).
"""
