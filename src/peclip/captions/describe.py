"""Captions whole data sets, one line in the store per video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from peclip.captions.prompt import PROMPT_VERSION
from peclip.captions.store import Caption, CaptionStore
from peclip.data.caption_refinement import describes_a_face, refine
from peclip.data.samples import Sample
from peclip.errors import EndpointError, NoCaptionError, VideoError
from peclip.video.chosen_frames import read_chosen
from peclip.video.frames import Frames
from peclip.video.reader import open_video
from peclip.video.sampling import segment_indices

MAX_UNANSWERED = 3
"""Number of consecutive videos without a caption after which captioning stops."""
_SHOWN = 100


class Captioner(Protocol):
    """A multi-modal language model that describes the face in the frames of one video."""

    @property
    def name(self) -> str:
        """Name of the model in the store."""
        ...

    def describe(self, frames: Frames) -> str:
        """Returns the model's reply to `PROMPT`.

        Raises:
            NoCaptionError: these frames get no caption.
            UserError: the model failed for good.
        """
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """Outcome of one video."""

    id: str
    status: Literal["ok", "empty", "unanswered", "failed"]
    """`empty`: the refinement removed the whole caption; `unanswered`: the model did not describe a
    face; `failed`: the video cannot be read, and the model was not called."""
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
    """Captions the videos missing from the store, and stores each caption immediately.

    Args:
        samples: the videos; duplicate ids are captioned once.
        captioner: gets `num_frames` frames of each video, from equal segments.
        store: receives the captions.
        num_frames: 1 or more; Video-LLaVA takes 8.
        limit: stop after this many videos, not counting those already stored; by default caption all.
        on_video: called after each video.

    Returns:
        The outcomes of the videos that were not in the store.

    Raises:
        ConfigError: the store holds captions made with other settings, or cannot be written.
        EndpointError: `MAX_UNANSWERED` consecutive videos got no caption.
        UserError: the captioner failed for good. Earlier captions are in the store.
    """
    store.check_origin(captioner.name, PROMPT_VERSION, num_frames)
    results: list[Described] = []
    unanswered = 0
    for sample in {sample.id: sample for sample in samples}.values():
        if sample.id in store:  # videos without a caption are retried in every run
            unanswered = 0
            continue
        if len(results) == limit:
            break
        done = _describe_video(sample, captioner, store, num_frames)
        results.append(done)
        on_video(done)
        if done.status != "failed":  # a failed video says nothing about the model
            unanswered = unanswered + 1 if done.status == "unanswered" else 0
        if unanswered == MAX_UNANSWERED:
            raise EndpointError(
                f"The model {captioner.name!r} returned no caption for {unanswered} consecutive "
                f"videos; the last one was {done.id!r}. Check the model and its server, or use "
                "another model and another output file. Finished captions are saved; run the "
                "same command again to resume."
            )
    return results


def copy_own(
    samples: Iterable[Sample], texts: Mapping[str, str], store: CaptionStore, name: str
) -> list[Described]:
    """Stores human-written captions of videos, refined like those of a model.

    Args:
        samples: of the data set; those without a text and those already stored are skipped.
        texts: by the ids of the videos.
        store: receives the captions.
        name: name of their authors in the store.

    Raises:
        ConfigError: the store holds captions made with other settings, or cannot be written.
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
            # A short video is not padded: a language model needs no repeated frames.
            frames = read_chosen(
                reader, lambda count: sorted(set(segment_indices(count, num_frames)))
            )
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
            f"the model {captioner.name!r} returned text that does not describe a face: "
            f"{shown!r}; try another model."
        )
    return text
