"""Face crops of whole data sets, made once: decode, detect, track and crop, then train on the crops.

Beside the crops stands `preprocessing.json`, which says how they were made, and a second run goes on only with
the same settings; `left_out.json` names the videos that have none. A video is complete when its folder has its
name: until then it has a hidden one.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2

from peclip.data.media import frames_folder, is_still
from peclip.data.preparation.crop_record import CropConfig, record_crops, record_left_out
from peclip.data.samples import Sample
from peclip.errors import ConfigError, DatasetError, VideoError
from peclip.video.faces import FaceDetector
from peclip.video.parts import Parts, PartsFinder, joined, parts_path, save_parts
from peclip.video.reader import open_video
from peclip.video.windows import Observation, Observer

ABOUT = "frames.json"

MakeDetector = Callable[[], FaceDetector]
"""Makes a detector for one thread: threads that share one wait for each other."""

MakeFinder = Callable[[], PartsFinder]
"""Likewise a finder of parts."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of one video."""

    id: str
    status: Literal["ok", "no_face", "decode_error", "kept"]
    """`kept`: an earlier run had done it."""
    frames: int = 0
    """Frames in the video."""
    crops: int = 0
    """Frames in which the main person was seen."""
    people: int = 0
    parsed: int = 0
    """Crops in which parts were found, where they were looked for."""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return asdict(self)


def prepare(
    samples: Iterable[Sample],
    root: Path,
    output: Path,
    config: CropConfig,
    make_detector: MakeDetector,
    *,
    make_finder: MakeFinder | None = None,
    workers: int | None = None,
    on_video: Callable[[Prepared], None] = lambda _: None,
) -> list[Prepared]:
    """Crops the main person of every video: the one who is seen in the most frames.

    The tree below `output` is that below `root`, with a folder of JPEG files for each video, so that
    the readers of the data set find the crops with `--data-root OUTPUT`.

    Args:
        samples: what to prepare; a video that comes twice is taken once.
        root: the data set's folder.
        output: made if needed.
        config: how.
        make_detector: is called once per thread.
        make_finder: likewise; finds the parts of every crop, also of those that an earlier run made.
        workers: threads; by default as many as there are cores.
        on_video: is told of each video when it is done.

    Raises:
        ConfigError: the output is inside the root, holds crops that were made otherwise, or cannot be
            written.
        DatasetError: the readers of the data set could not find the crops: a video is outside the root,
            two would have one folder, or the data set is one of stills.
    """
    sources = {sample.source: sample for sample in samples}
    targets = _find_targets(sources, root)
    with _writing(output):
        record_crops(root, output, config)
        # Until they are done: what a run that is stopped leaves must not pass for all of the data set.
        waiting = (
            s.id for s in sources.values() if not (output / targets[s.source] / ABOUT).exists()
        )
        record_left_out(output, dict.fromkeys(waiting, "not_done"))
    local = threading.local()

    def one(sample: Sample) -> Prepared:
        if not hasattr(local, "detector"):
            local.detector = make_detector()
            local.finder = None if make_finder is None else make_finder()
        target = output / targets[sample.source]
        with _writing(output):
            prepared = _prepare_video(sample, target, config, local.detector)
            if local.finder is not None and (target / ABOUT).exists():
                prepared = _add_parts(prepared, target, local.finder)
        return prepared

    results: list[Prepared] = []
    try:
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            for done in pool.map(one, sources.values()):
                results.append(done)
                on_video(done)
    finally:
        with _writing(output):
            record_left_out(output, {result.id: result.status for result in results})
    return results


def count_status(results: Sequence[Prepared]) -> dict[str, int]:
    """Returns how many videos came to each end."""
    return dict(Counter(result.status for result in results))


def _find_targets(sources: Mapping[Path, Sample], root: Path) -> dict[Path, Path]:
    """Returns source → folder of its crops below the output, in which no other video's are."""
    targets = {source: _find_target(sample, root) for source, sample in sources.items()}
    owners: dict[Path, Path] = {}
    for source, target in sorted(targets.items(), key=lambda item: item[1]):  # parents come first
        for place in (target, *target.parents):
            if place in owners:
                raise DatasetError(
                    f"{owners[place]} and {source} would both have their crops in the folder "
                    f"{place.as_posix()!r} of the output. Rename one of them."
                )
        owners[target] = source
    return targets


def _find_target(sample: Sample, root: Path) -> Path:
    source, base = Path(os.path.abspath(sample.source)), Path(os.path.abspath(root))
    if Path(sample.id).is_absolute() or base not in source.parents:
        raise DatasetError(
            f"{sample.id} cannot be prepared: crops are found by their paths below the root, here {root}. "
            "Give a root that holds all videos, and write the paths of the table relative to it."
        )
    # FER2013. No other data set says of its stills that they are stills; those of one's own are videos.
    if is_still(source) and sample.num_frames == 1:
        raise DatasetError(
            f"{sample.id} is of a data set of stills that are cropped to the face already, and whose "
            "reader needs files, where crops are folders. Train on the stills themselves."
        )
    return frames_folder(source).relative_to(base)


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Turns what a full disk or a locked folder leads to into an error of one line."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"The crops cannot be kept in {str(output)!r}: {error.strerror or error}. Make room or give a "
            "folder that can be written; a second run goes on where this one stopped."
        ) from None


def _prepare_video(
    sample: Sample, target: Path, config: CropConfig, detector: FaceDetector
) -> Prepared:
    if (target / ABOUT).exists():
        return Prepared(sample.id, "kept")
    hidden = target.with_name(f".{target.name}.part")
    shutil.rmtree(hidden, ignore_errors=True)  # of a run that was killed
    hidden.mkdir(parents=True)
    try:
        result = _write_crops(sample, hidden, config, detector)
        if result.status == "ok":
            shutil.rmtree(target, ignore_errors=True)
            hidden.rename(target)
        return result
    except VideoError as error:
        return Prepared(sample.id, "decode_error", reason=str(error))
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _add_parts(prepared: Prepared, folder: Path, finder: PartsFinder) -> Prepared:
    """Finds the parts of the crops in a folder, unless they are there."""
    path = parts_path(folder)
    if path.exists():
        return prepared
    found: list[Parts] = []
    try:
        with open_video(folder) as reader:
            for frames in reader.chunks():
                found.append(finder.find(frames.data))
    except VideoError as error:
        return Prepared(prepared.id, "decode_error", reason=str(error))
    parts = joined(found)
    save_parts(path, parts)
    return replace(prepared, status="ok", crops=len(parts), parsed=int(parts.found.sum()))


def _write_crops(
    sample: Sample, folder: Path, config: CropConfig, detector: FaceDetector
) -> Prepared:
    """Writes the crops of everyone frame by frame, then keeps those of the main person.

    Crops go to disk at once, so that memory does not grow with the video.
    """
    observer = Observer(
        detector, size=config.size, margin=config.margin, shift=config.shift, align=config.align
    )
    seen: dict[int, list[dict[str, Any]]] = {}
    frames = 0
    with open_video(sample.source, num_threads=1) as reader:
        for observation in observer.observe(reader.chunks()):
            frames += 1
            _write_sightings(observation, folder, seen)
    if not seen:
        return Prepared(sample.id, "no_face", frames=frames)
    main = max(seen, key=lambda track: (len(seen[track]), -track))
    for track in seen.keys() - {main}:
        shutil.rmtree(folder / str(track))
    for file in (folder / str(main)).iterdir():
        file.rename(folder / file.name)
    (folder / str(main)).rmdir()
    about = {"source": sample.id, "frames": frames, "people": len(seen), "crops": seen[main]}
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    crops = len(seen[main])
    return Prepared(sample.id, "ok", frames=frames, crops=crops, people=len(seen))


def _write_sightings(
    observation: Observation, folder: Path, seen: dict[int, list[dict[str, Any]]]
) -> None:
    for sighting in observation.sightings:
        place = folder / str(sighting.track_id)
        place.mkdir(exist_ok=True)
        name = f"{observation.index:06d}.jpg"
        pixels = cv2.cvtColor(sighting.crop, cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(place / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95]):
            raise ConfigError(f"{str(place / name)!r} cannot be written; is the disk full?")
        face = sighting.face
        seen.setdefault(sighting.track_id, []).append(
            {
                "file": name,
                "time_s": round(observation.time, 6),
                "box": [round(v, 1) for v in (face.x, face.y, face.width, face.height)],
                "face_conf": round(face.score, 4),
            }
        )
