"""Face crops of whole data sets, made once: decode, detect, track and crop, then train on the crops.

`preprocessing.json` next to the crops records their settings, and a second run resumes only with the
same settings; `left_out.json` lists the videos without crops. A video is complete when its folder has its
final name: until then the name is hidden.
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

from peclip.data.media import frames_folder, is_still
from peclip.data.preparation.crop_record import (
    CropConfig,
    check_present,
    make_output,
    record_crops,
    record_left_out,
)
from peclip.data.preparation.sighting_files import join_people, write_sightings
from peclip.data.samples import Sample
from peclip.errors import ConfigError, DatasetError, VideoError
from peclip.files import locked
from peclip.video.detectors.detector import FaceDetector
from peclip.video.observer import Observer
from peclip.video.parts import Parts, PartsFinder, joined, parts_path, save_parts
from peclip.video.reader import open_video
from peclip.video.sound import SOUND_FILE
from peclip.video.writers.sound_file import write_sound

ABOUT = "frames.json"

MakeDetector = Callable[[], FaceDetector]
"""Creates a detector for one thread: threads sharing one would wait for each other."""

MakeFinder = Callable[[], PartsFinder]
"""Creates a parts finder for one thread."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Outcome of one video."""

    id: str
    status: Literal["ok", "no_face", "decode_error", "kept"]
    """`kept`: done by an earlier run."""
    frames: int = 0
    """Frames in the video."""
    crops: int = 0
    """Frames that show the main person."""
    people: int = 0
    parsed: int = 0
    """Crops in which parts were found, if requested."""
    has_sound: bool = False
    """Whether sound lies next to the crops, if requested."""
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
    """Crops the main person of every video: the one visible in the most frames.

    The folder structure of `output` mirrors that of `root`, with a folder of JPEG files for each video, so
    the data set's readers find the crops with `--data-root OUTPUT`.

    Args:
        samples: the videos; duplicates are prepared once.
        root: the data set's folder.
        output: created if needed.
        config: the settings.
        make_detector: called once per thread.
        make_finder: called once per thread; finds the parts in all crops, including those from earlier runs.
        workers: number of threads; by default, one per core.
        on_video: called after each video.

    Raises:
        ConfigError: the output is inside the root, contains crops made with other settings, cannot be
            written, is in use by another run, or is removed during the run.
        DatasetError: the readers of the data set could not find the crops: a video is outside the root,
            two videos would share a folder, or the data set contains stills.
    """
    sources = {sample.source: sample for sample in samples}
    targets = _find_targets(sources, root)
    with _writing(output):
        make_output(root, output)
    with locked(output):
        missing = (s for s, target in targets.items() if not (output / target / ABOUT).exists())
        waiting = [sources[source].id for source in missing]
        with _writing(output):
            record_crops(root, output, config)
            # Until they are done: an interrupted run must not pass for the whole data set.
            record_left_out(output, dict.fromkeys(waiting, "not_done"))
        crop = _Cropper(output, targets, config, make_detector, make_finder)
        return _crop_all(crop, sources.values(), output, workers, on_video)


def _crop_all(
    crop: Callable[[Sample], Prepared],
    samples: Iterable[Sample],
    output: Path,
    workers: int | None,
    on_video: Callable[[Prepared], None],
) -> list[Prepared]:
    """Crops videos in threads, and records those without crops, even if it is interrupted."""
    results = list[Prepared]()
    try:
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            for done in pool.map(crop, samples):
                results.append(done)
                on_video(done)
    finally:
        check_present(output)
        with _writing(output):
            record_left_out(output, {result.id: result.status for result in results})
    return results


class _Cropper:
    """Crops videos in any number of threads, each with its own detector and finder."""

    def __init__(
        self,
        output: Path,
        targets: Mapping[Path, Path],
        config: CropConfig,
        make_detector: MakeDetector,
        make_finder: MakeFinder | None,
    ) -> None:
        self._output, self._targets, self._config = output, targets, config
        self._make_detector, self._make_finder = make_detector, make_finder
        self._local = threading.local()

    def __call__(self, sample: Sample) -> Prepared:
        """Makes the crops of a video and, with a finder, their parts, unless they exist."""
        local = self._local
        if not hasattr(local, "detector"):
            local.detector = self._make_detector()
            local.finder = None if self._make_finder is None else self._make_finder()
        target = self._output / self._targets[sample.source]
        check_present(self._output)
        with _writing(self._output):
            prepared = _crop(sample, target, self._config, local.detector)
            if local.finder is not None and (target / ABOUT).exists():
                prepared = _add_parts(prepared, target, local.finder)
            if self._config.sound and (target / ABOUT).exists():
                prepared = _add_sound(prepared, sample.source, target / SOUND_FILE)
        return prepared


def count_status(results: Sequence[Prepared]) -> dict[str, int]:
    """Returns the number of videos per outcome."""
    return dict(Counter(result.status for result in results))


def _find_targets(sources: Mapping[Path, Sample], root: Path) -> dict[Path, Path]:
    """Returns source → folder of its crops below the output, unique for each video."""
    targets = {source: _find_target(sample, root) for source, sample in sources.items()}
    owners: dict[Path, Path] = {}
    for source, target in sorted(targets.items(), key=lambda item: item[1]):  # parents come first
        for place in (target, *target.parents):
            if place in owners:
                raise DatasetError(
                    f"The crops of {owners[place]} and {source} would share the output folder "
                    f"{place.as_posix()!r}. Rename one of the two videos."
                )
        owners[target] = source
    return targets


def _find_target(sample: Sample, root: Path) -> Path:
    source, base = Path(os.path.abspath(sample.source)), Path(os.path.abspath(root))
    if Path(sample.id).is_absolute() or base not in source.parents:
        raise DatasetError(
            f"{sample.id} cannot be prepared, because it is outside the root {root}. Use a root "
            "that contains all videos, and make the paths in the table relative to it."
        )
    # FER2013. No other data set marks stills as such; custom images are treated as videos.
    if is_still(source) and sample.num_frames == 1:
        raise DatasetError(
            f"{sample.id} belongs to a data set of stills that are already cropped to the face, "
            "so it cannot be prepared. Train on the stills directly."
        )
    return frames_folder(source).relative_to(base)


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Turns a full disk or a locked folder into a one-line error."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"The crops cannot be saved in {str(output)!r}: {error.strerror or error}. Free up "
            "disk space or choose a writable folder; the next run resumes where this one stopped."
        ) from None


def _crop(sample: Sample, target: Path, config: CropConfig, detector: FaceDetector) -> Prepared:
    if (target / ABOUT).exists():
        return Prepared(sample.id, "kept")
    hidden = target.with_name(f".{target.name}.part")
    shutil.rmtree(hidden, ignore_errors=True)  # left by a killed run
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
    """Finds the parts of the crops in a folder, unless they exist."""
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


def _add_sound(prepared: Prepared, source: Path, path: Path) -> Prepared:
    """Copies the sound of a video next to its crops, unless that is done; a video may have none."""
    try:
        found = path.exists() or write_sound(source, path)
    except VideoError as error:
        return replace(prepared, reason=str(error))
    return replace(prepared, has_sound=found)


def _write_crops(
    sample: Sample, folder: Path, config: CropConfig, detector: FaceDetector
) -> Prepared:
    """Writes the crops of everyone frame by frame, then keeps those of the main person.

    Crops are written immediately, so that memory does not grow with the video.
    """
    observer = Observer(
        detector,
        size=config.size,
        margin=config.margin,
        shift=config.shift,
        align=config.align,
        max_gap=config.max_gap,
        reidentify=config.reidentify,
        detect_size=config.detect_size,
    )
    seen: dict[int, list[dict[str, Any]]] = {}
    frames = 0
    with open_video(sample.source, num_threads=1) as reader:
        for observation in observer.observe(reader.chunks()):
            frames += 1
            join_people(observation, folder, seen)
            write_sightings(observation, folder, seen)
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
    return Prepared(sample.id, "ok", frames=frames, crops=len(seen[main]), people=len(seen))
