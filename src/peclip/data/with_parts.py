"""Videos together with the face parts from `peclip data prepare --parts`."""

from __future__ import annotations

import torch

from peclip.data.dataset import Draw, Item, VideoDataset
from peclip.errors import DatasetError, VideoError
from peclip.video.drawing import draw_parts
from peclip.video.parts import load_parts, parts_path


class VideosWithParts(VideoDataset):
    """Also draws the parsing map and the landmarks of every frame.

    They are augmented together with their frame, like another frame of the same video.
    """

    def item(self, draw: Draw) -> Item:
        """Returns a video with its target, caption and parts.

        Raises:
            VideoError: the video or its parts cannot be read.
        """
        sample = self.split.samples[draw.video]
        crops, chosen, total, augment = self.pick(draw)
        path = parts_path(sample.source)
        try:
            whole = load_parts(path)
        except DatasetError as error:
            raise VideoError(str(error)) from None
        if len(whole) != total:
            raise VideoError(
                f"{str(path)!r} covers {len(whole)} frames, but the video has {total}: the parts belong to other "
                "crops. Delete the file and prepare again: peclip data prepare --parts mediapipe"
            )
        parts = whole.at(chosen)
        pixels = draw_parts(parts, crops.permute(0, 2, 3, 1).contiguous().numpy())
        drawn = torch.from_numpy(pixels).permute(0, 1, 4, 2, 3)  # (T, 2, 3, S, S)
        pictures = torch.cat([crops[:, None], drawn], dim=1)
        pictures = augment(pictures.flatten(0, 1)).view(pictures.shape)
        return Item(
            pictures[:, 0],
            self.target(draw),
            self.soft_target(draw),
            draw.video,
            sample.caption,
            pictures[:, 1:].contiguous(),
            torch.from_numpy(parts.found),
        )
