"""The server of `peclip serve`: a page and a REST API, with a worker process that reads the videos.

Belongs here: routes, uploads, the queue of jobs, the worker process and its supervisor, limits, security, the page.
Belongs elsewhere: reading videos (`inference`), rows and overlays (`results`), downloads (`downloads`).
"""
