"""Video files that peclip writes.

Belongs here: encoding frames, and copying the sound of a source.
Belongs elsewhere: what is drawn on the frames (`results`), and reading videos (`video.readers`).
"""
