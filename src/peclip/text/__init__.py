"""Text from files: parsed within limits, compared, and escaped for display.

Belongs here: JSON, YAML, records, their limits, `comparison` and `display`.
Belongs elsewhere: the meaning of the values (the packages that read a file), and writing files (`files`).
"""
