"""Why a model predicts a label: which frames, which parts of the face, which words.

    from peclip.explain import explain, save

    explanation = explain(model, "clip.mp4", at=3.2)
    print(explanation.findings["leave-one-out"].frames)
    save(explanation, "why.png")

Belongs here: the methods, one per file, their results, the pictures of these, and measuring how faithful they are.
Belongs elsewhere: attention weights and their rollout (`nn`), and predictions (`recognizers`).
"""

from peclip.explain.explaining import explain
from peclip.explain.explanation import Explanation, Finding, Word
from peclip.explain.figure import plot_explanation
from peclip.explain.outputs import save

__all__ = ["Explanation", "Finding", "Word", "explain", "plot_explanation", "save"]
