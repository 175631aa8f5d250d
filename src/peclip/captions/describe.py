"""Captions of whole data sets: frames of a video, a question, an answer, a line of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from peclip.captions.prompt import PROMPT_VERSION
from peclip.captions.store import Caption, CaptionStore
from peclip.data.caption_refinement import describes_a_face, refine
from peclip.data.samples import Sample
from peclip.errors import EndpointError, NoCaptionError, VideoError
from peclip.types import Frames
from peclip.video.reader import open_video
from peclip.video.sampling import segment_indices

MAX_UNANSWERED = 3
"""Videos in a row without an answer, after which none is expected about the others."""
_SHOWN = 100


class Captioner(Protocol):
    """A multi-modal language model that describes the face in the frames of one video."""

    @property
    def name(self) -> str:
        """What the store calls the model."""
        ...

    def describe(self, frames: Frames) -> str:
        """Returns the answer to `PROMPT`.

        Raises:
            NoCaptionError: there is none for these frames.
            UserError: there will be none for others either.
        """
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """What became of one video."""

    id: str
    status: Literal["ok", "empty", "unanswered", "failed"]
    """`empty`: the refinement left nothing of the caption; `unanswered`: the model said nothing about a
    face; `failed`: the video cannot be read, and the model was not asked."""
    reason: str = ""


def describe(
    samples: Iterable[Sample],
    captioner: Captioner,
    store: CaptionStore,
    *,
    num_frames: int = 8,
    limit: int | None = None,
    on_video: Callable[[Described], None] = lambda _: None,
) -> list[Described]:
    """Captions the videos that the store does not have yet; each is in it when its turn is over.

    Args:
        samples: what to caption; an id that comes twice is taken once.
        captioner: is asked about `num_frames` frames at a time, from equal parts of the video.
        store: where the captions go.
        num_frames: 1 or more; Video-LLaVA takes 8.
        limit: the number of videos after which to stop, those that the store has not counted; by
            default all are captioned.
        on_video: is told of each video when it is done.

    Returns:
        What became of those that were not in the store.

    Raises:
        ConfigError: the store holds captions that were made otherwise, or cannot be written.
        EndpointError: `MAX_UNANSWERED` videos in a row had no answer, and the store has none between.
        UserError: the captioner has failed for good. What was captioned before is in the store.
    """
    store.check_origin(captioner.name, PROMPT_VERSION, num_frames)
    results: list[Described] = []
    unanswered = 0
    for sample in {sample.id: sample for sample in samples}.values():
        if sample.id in store:  # an answer too; videos without one come up again in every run
            unanswered = 0
            continue
        if len(results) == limit:
            break
        done = _describe_video(sample, captioner, store, num_frames)
        results.append(done)
        on_video(done)
        if done.status != "failed":  # of a video that was not shown, nothing is known
            unanswered = unanswered + 1 if done.status == "unanswered" else 0
        if unanswered == MAX_UNANSWERED:
            raise EndpointError(
                f"The model {captioner.name!r} gave no caption for {unanswered} videos in a row, the last "
                f"of them {done.id!r}. Check the model and its server, or give another model and another "
                "file; what was captioned is kept, and the same command goes on."
            )
    return results


def copy_own(
    samples: Iterable[Sample], texts: Mapping[str, str], store: CaptionStore, name: str
) -> list[Described]:
    """Puts what people wrote about videos into a store, refined as what a model writes.

    Args:
        samples: of the data set; one without a text, and one that the store has, is passed over.
        texts: by the ids of the videos.
        store: where they go.
        name: what the store calls their authors.

    Raises:
        ConfigError: the store holds captions that were made otherwise, or cannot be written.
    """
    store.check_origin(name, "", 0)
    results = []
    for sample in samples:
        if texts.get(sample.id) and sample.id not in store:
            refined = refine(texts[sample.id])
            store.add(Caption(sample.id, texts[sample.id], refined, name, "", 0))
            results.append(Described(sample.id, "ok" if refined else "empty"))
    return results


def _describe_video(
    sample: Sample, captioner: Captioner, store: CaptionStore, num_frames: int
) -> Described:
    try:
        with open_video(sample.source, num_threads=1) as reader:
            # A short video is shown as it is: a language model needs no repeated frames.
            frames = reader.read(sorted(set(segment_indices(len(reader), num_frames))))
        text = _ask(captioner, frames)
    except VideoError as error:
        return Described(sample.id, "failed", str(error))
    except NoCaptionError as error:
        return Described(sample.id, "unanswered", str(error))
    refined = refine(text)
    store.add(Caption(sample.id, text, refined, captioner.name, PROMPT_VERSION, num_frames))
    return Described(sample.id, "ok" if refined else "empty")


def _ask(captioner: Captioner, frames: Frames) -> str:
    text = captioner.describe(frames)
    if not describes_a_face(text):
        line = " ".join(text.split())
        shown = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
        raise NoCaptionError(
            f"the model {captioner.name!r} says nothing about a face: {shown!r}; try another model."
        )
    return text
