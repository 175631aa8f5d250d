"""Face detectors, one file each.

Belongs here: classes that implement `detector.FaceDetector`, and `registry`, which has an entry for each.
Belongs elsewhere: crops of the faces (`video.faces`) and following them through a video (`video.tracking`).
"""
