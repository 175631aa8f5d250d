"""File formats for rows and episodes, one module each.

Belongs here: writers of rows to an open stream, and `registry`, which lists them.
Belongs elsewhere: opening the output and its errors (`results.writers`), and reading such files (`results.row_file`).
"""
