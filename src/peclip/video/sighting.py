"""One person in one frame, whose crop is made when a window uses it."""

from __future__ import annotations

from dataclasses import replace

from peclip.video.faces import FaceBox, FaceCrop, Image

WHOLE_FRAME = -1
"""The track id of a whole-frame row, or of a window without a face."""


LARGEST = 2**20
"""Size of the pixels around a face, in bytes, above which its crop is made at once: they are copied. A square of 590
pixels."""


class Sighting:
    """One person in one frame.

    Args:
        track_id: of the person.
        face: in the frame.
        crop: of the face, or the square from which it is made; its pixels are copied, so that the frame can be freed.
    """

    __slots__ = ("_crop", "_square", "face", "track_id")

    def __init__(self, track_id: int, face: FaceBox, crop: Image | FaceCrop) -> None:
        self.track_id, self.face = track_id, face
        self._crop: Image | None = None
        self._square: FaceCrop | None = None
        if not isinstance(crop, FaceCrop):
            self._crop = crop
        elif crop.image.nbytes > LARGEST:
            self._crop = crop.cut()
        else:
            self._square = replace(crop, image=crop.image.copy())

    @property
    def crop(self) -> Image:
        """The crop of the face, (S, S, 3), the same array in every call."""
        if self._crop is None:
            assert self._square is not None
            self._crop, self._square = self._square.cut(), None
        return self._crop

    @property
    def crop_bytes(self) -> int:
        """Size of the crop, whether or not it has been made."""
        return self.crop.nbytes if self._square is None else 3 * self._square.size**2

    @property
    def waiting_bytes(self) -> int:
        """Size of the pixels from which the crop will be made; 0 after that."""
        return 0 if self._square is None else self._square.image.nbytes
