"""Text of files: parsed within bounds, compared, and escaped where people see it.

Belongs here: JSON, YAML, records, the bounds of all of them, `comparison` and `display`.
Belongs elsewhere: the meaning of the values (the packages that read a file), and writing files (`files`).
"""
