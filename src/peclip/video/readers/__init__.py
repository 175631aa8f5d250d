"""Frame readers, one file per kind of source.

Belongs here: classes that implement `video.interface.VideoReader`, and helpers only readers need.
Belongs elsewhere: choosing a reader (`video.reader`), which no reader imports.
"""
