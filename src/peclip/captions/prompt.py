"""The prompt of the language model."""

from __future__ import annotations

PROMPT = (
    "You are a facial expression analyst. Identify emotions by analyzing the detailed movements of "
    "various facial features (mouth, chin, eyes, etc.) and implied actions (breathing rate, gaze "
    "direction) across a sequence. Provide a detailed description of the movements of various facial "
    "features and implied actions concisely."
)
"""FineCLIPER's, verbatim (figure of the text generation; arXiv 2407.02157)."""

PROMPT_VERSION = "finecliper-1"
"""Stored with every caption: a file of captions is made with one prompt."""
