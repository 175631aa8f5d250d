"""PE-CLIP for users."""

from __future__ import annotations

from peclip.recognizers.recognizer import Recognizer


class PEClip(Recognizer):
    """PE-CLIP (Saadi et al., 2025): frozen CLIP with temporal adapters and coupled prompts."""

    architecture = "pe-clip"
