"""FineCLIPER for users."""

from __future__ import annotations

from peclip.recognizers.recognizer import Recognizer


class FineCLIPER(Recognizer):
    """FineCLIPER (Chen et al., 2024): frozen CLIP with adapters for every stream of a video.

    A model with parts finds them in the face crops, with MediaPipe (extra `parts`). A model
    with captions reads those of `PredictOptions.captions`; for a video without one, its prediction uses
    only the other streams.
    """

    architecture = "finecliper"
