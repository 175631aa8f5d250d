"""Checks a copy of a data set before training on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from peclip.data.benchmarks.registry import find_benchmark
from peclip.data.check_report import CheckReport, FaceShare, Finding, Kind, SplitSummary
from peclip.data.face_share import measure_face_share
from peclip.data.media import count_images, is_still
from peclip.data.recordings import longest_recording, recording_stem, shared_recording
from peclip.data.samples import Sample, Split
from peclip.data.splits import read_splits
from peclip.errors import DatasetError, VideoError
from peclip.video.file_key import FileKey, file_key

if TYPE_CHECKING:
    from peclip.video.detectors.detector import FaceDetector

FRAMES = 16
"""Number of frames that PE-CLIP samples from a video; in shorter videos, some are repeated."""

Progress = Callable[[int, int], None]
"""Called with the number of videos done, and the total."""


def check_dataset(
    dataset: str,
    root: Path,
    annotations: Path | None = None,
    fold: int | None = None,
    *,
    detector: FaceDetector | None = None,
    face_margin: float = 0.3,
    face_videos: int = 20,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> CheckReport:
    """Checks lists against each other and against the disk.

    Args:
        dataset: one of `DATASETS`.
        root: the folder of the data set.
        annotations: the folder of the lists, or the table.
        fold: one fold; by default all, including a check that their test splits are disjoint.
        detector: distinguishes cropped faces from portraits and whole scenes; `None` skips this.
        face_margin: of the crops of the model that reads the videos, see `PreprocessConfig.face_margin`.
        face_videos: number of videos passed to the detector.
        workers: threads that read videos; by default as `ThreadPoolExecutor` has it.
        on_progress: called with the progress.

    Raises:
        DatasetError: the data set or a list is missing, or cannot be read at all.
        ConfigError: the data set is unknown.
    """
    splits = read_splits(dataset, root, annotations, fold)
    samples = {sample.source: sample for split in splits for sample in split.samples}
    missing = {sample.source: sample for split in splits for sample in split.missing}
    present = [sample for source, sample in samples.items() if source not in missing]
    findings = [Finding("missing", s.id, f"not at {s.source}") for s in missing.values()]
    findings += _check_files(present, workers, on_progress)
    findings += _check_lists(splits)
    skipped = dict.fromkeys(file for split in splits for file in split.skipped)
    findings += [Finding("skipped", file.path, file.reason) for file in skipped]
    findings += _check_recordings(dataset, splits)
    faces = _check_faces(present, findings, detector, face_margin, face_videos)
    summaries = tuple(SplitSummary.of(split) for split in splits)
    return CheckReport(dataset, root, summaries, len(samples), tuple(findings), faces)


def _check_files(
    samples: Sequence[Sample], workers: int | None, on_progress: Progress | None
) -> list[Finding]:
    findings: list[Finding] = []
    with ThreadPoolExecutor(workers) as pool:
        for done, found in enumerate(pool.map(check_file, samples), start=1):
            findings += found
            if on_progress is not None:
                on_progress(done, len(samples))
    return findings


def check_file(sample: Sample) -> list[Finding]:
    """Reads the frames of a video that evaluation reads, and compares their number with its list.

    Only folders of frames are compared: the lists count extracted frames, and frames without a face are
    often left out of them.
    """
    source = sample.source
    try:
        if source.is_dir() and count_images(source) == 0:
            return [Finding("empty", sample.id, f"no frames in {source}")]
        count, failure = _read_frames(source)
    except (VideoError, DatasetError) as error:
        return [Finding("unreadable", sample.id, str(error))]
    if count == 0:
        return [Finding("empty", sample.id, f"no frames in {source}")]
    findings = []
    if failure is not None:
        detail = f"{source}: decoding stops after frame {count}: {failure}"
        findings.append(Finding("unreadable", sample.id, detail))
    if source.is_dir() and sample.num_frames not in (None, count):
        detail = f"{count} frames in {source}, but {sample.num_frames} in the list"
        findings.append(Finding("frame_count", sample.id, detail))
    if count < FRAMES and not is_still(source):
        findings.append(Finding("short", sample.id, f"{count} frames in {source}"))
    return findings


def _read_frames(path: Path) -> tuple[int, str | None]:
    """Decodes the middle frames of the segments of a video.

    Returns:
        The number of frames of the video, and why they end early, if they do.

    Raises:
        VideoError: it cannot be opened, or one of the frames cannot be decoded or has another size.
    """
    from peclip.video.chosen_frames import read_chosen
    from peclip.video.reader import open_video
    from peclip.video.sampling import segment_indices

    with open_video(path, num_threads=1) as reader:  # the decoder used in training
        if len(reader):
            read_chosen(reader, lambda count: segment_indices(count, FRAMES))
        return len(reader), reader.metadata.failure


def _check_lists(splits: Sequence[Split]) -> list[Finding]:
    """Checks splits for repeats, for contradictions, and against each other."""
    findings = [finding for split in splits for finding in _check_repeats(split)]
    labels: dict[str, tuple[str, str]] = {}
    for split in splits:
        for sample in split.samples:
            label, title = labels.setdefault(sample.id, (sample.label, split.title))
            if label != sample.label:
                detail = f"{label} in {title}, but {sample.label} in {split.title}"
                findings.append(Finding("conflict", sample.id, detail))
    findings += _check_links(splits)
    for one, other in combinations(splits, 2):
        # Splits of one fold must be disjoint, and so must the test splits of folds.
        if one.fold == other.fold or one.split == other.split == "test":
            findings += _check_overlap(one, other)
    return findings


def _check_links(splits: Sequence[Split]) -> Iterator[Finding]:
    """Looks for samples that are links to one file."""
    seen: dict[FileKey, tuple[Sample, Split]] = {}
    for split in splits:
        for sample in split.samples:
            first, before = seen.setdefault(file_key(sample.source), (sample, split))
            if first.source != sample.source:
                kind: Kind = "duplicate" if before is split else "overlap"
                kind = kind if first.label == sample.label else "conflict"
                detail = f"the same file as {first.id} in {before.title}, under another name"
                yield Finding(kind, sample.id, detail)


def _check_repeats(split: Split) -> Iterator[Finding]:
    seen: dict[str, Path] = {}
    for sample in split.samples:
        if sample.id in seen:
            detail = f"{seen[sample.id]} and {sample.source} in {split.title}"
            yield Finding("duplicate", sample.id, detail)
        seen[sample.id] = sample.source


def _check_overlap(one: Split, other: Split) -> Iterator[Finding]:
    where = f"in {one.title} and in {other.title}"
    for name in _shared((s.id for s in one.samples), (s.id for s in other.samples)):
        yield Finding("overlap", name, f"the video is {where}")
    for subject in _shared(one.subjects, other.subjects):
        yield Finding("overlap", f"subject {subject}", f"the person is {where}")


def _check_recordings(dataset: str, splits: Sequence[Split]) -> list[Finding]:
    """Looks for pieces of one recording in two splits of a custom data set, by their names."""
    if find_benchmark(dataset).labels is not None:
        return []
    found = shared_recording(splits)
    if found is not None:
        detail = f"{found.one.id} in {found.splits[0]}, {found.other.id} in {found.splits[1]}"
        return [Finding("recording", f"{found.stem}*", detail)]
    train = next((split for split in splits if split.split == "train"), None)
    if train is None or any(split.split == "val" for split in splits):
        return []
    pieces = longest_recording(train)
    if len(pieces) < 2:
        return []
    stem = recording_stem(pieces[0])
    detail = (
        f"{pieces[0].id} and {len(pieces) - 1} more in train; without a val split, training divides them "
        "between train and val"
    )
    return [Finding("recording", f"{stem}*", detail)]


def _shared(one: Iterable[str], other: Iterable[str]) -> list[str]:
    return sorted(set(one) & set(other))


def _check_faces(
    present: Sequence[Sample],
    findings: Iterable[Finding],
    detector: FaceDetector | None,
    margin: float,
    videos: int,
) -> FaceShare | None:
    if detector is None or videos < 1:
        return None
    bad = {finding.where for finding in findings if finding.kind in ("empty", "unreadable")}
    sources = [sample.source for sample in present if sample.id not in bad]
    return measure_face_share(sources, detector, margin=margin, videos=videos) if sources else None
