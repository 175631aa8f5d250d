"""`peclip data`: lists data sets, checks a local copy for problems, and prepares face crops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.data_options import DataGroup
from peclip.cli.field_options import Fields, from_fields
from peclip.cli.options import ModelOpt, ProgressOpt, ReportFormatOpt, print_report
from peclip.config import check
from peclip.data.config import DataConfig
from peclip.errors import SOME_FAILED, ConfigError
from peclip.literals import DetectorName
from peclip.predict_options import PredictOptions
from peclip.text.display import printable

if TYPE_CHECKING:
    from peclip.config import PreprocessConfig
    from peclip.data.check_report import CheckReport, FaceShare
    from peclip.data.preparation.face_crops import Prepared
    from peclip.video.detectors.detector import FaceDetector

app = typer.Typer(no_args_is_help=True, help="List, check and prepare data sets.")

_SHOWN = 5
"""Findings of each kind shown in the table; JSON lists all."""

_VERDICTS = {
    "face": "cropped to the face, like the crops {model} uses: train on them as they are, and predict "
    "them with --no-face-crop",
    "portrait": "portraits that are not cropped to the face as {model} needs it: run `peclip data prepare` "
    "before training, and predict them without --no-face-crop",
    "scene": "whole scenes: run `peclip data prepare` before training",
    "unclear": "unclear: inspect some frames, and run `peclip data prepare` unless they are cropped faces",
}

FoldOpt = Annotated[
    int | None, typer.Option("--fold", min=1, help="Fold number; by default, all folds.")
]


@app.command("list")
def list_datasets(form: ReportFormatOpt = "table") -> None:
    """List the data sets: classes, folds, sources and licences."""
    from peclip.data import DATASETS

    sets = [
        {
            "name": known.name,
            "title": known.title,
            "labels": None if known.labels is None else list(known.labels),
            "folds": known.folds,
            "splits": list(known.splits),
            "test_split": known.test_split,
            "tree": list(known.tree),
            "source": known.source,
            "licence": known.licence,
        }
        for known in DATASETS.values()
    ]
    rows = [
        [
            known.name,
            "own" if known.labels is None else str(len(known.labels)),
            "-" if known.folds is None else str(known.folds),
            " ".join(known.splits),
            known.licence,
            known.source,
        ]
        for known in DATASETS.values()
    ]
    heading = ["name", "classes", "folds", "splits", "licence", "source"]
    print_report(form, sets, lambda: console.print_table(heading, rows))


@app.command("check")
@from_fields
def check_copy(
    *,
    data: DataGroup,
    fold: FoldOpt = None,
    face_videos: Annotated[
        int,
        typer.Option(min=0, help="Number of videos to run face detection on; 0 disables it."),
    ] = 20,
    model: ModelOpt = "nano",
    faces: Annotated[dict[str, Any], Fields(PredictOptions, "detector")],
    form: ReportFormatOpt = "table",
    progress: ProgressOpt = True,
) -> None:
    """Check for missing, corrupt and duplicate videos, wrong frame counts, and overlapping splits.

    Frames are compared with the kind of face crops the model was trained on (-m; nano by default).
    """
    from peclip.data import find_benchmark
    from peclip.data.check import check_dataset

    config = check(DataConfig, data)
    # before a detector is downloaded for nothing
    find_benchmark(config.dataset).check_root(config.root)
    margin = 0.0
    if face_videos:
        preprocess = _preprocess(model)
        margin, face_videos = preprocess.face_margin, face_videos * preprocess.face_crop
    with console.progress_bar(enabled=progress) as bar:
        task = bar.add_task(f"checking {config.dataset}", total=None, position="")
        report = check_dataset(
            config.dataset,
            config.root,
            config.annotations,
            fold,
            detector=_load_detector(**faces) if face_videos else None,
            face_margin=margin,
            face_videos=face_videos,
            on_progress=lambda done, total: bar.update(
                task, completed=done, total=total, position=f"{done:,} of {total:,}"
            ),
        )
    print_report(form, report.to_dict(), lambda: _print(report, model))
    if not report.ok:
        raise typer.Exit(SOME_FAILED)


@app.command()
@from_fields
def prepare(
    *,
    data: DataGroup,
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder for the crops.")],
    fold: FoldOpt = None,
    model: ModelOpt = "nano",
    size: Annotated[
        int | None,
        typer.Option(min=16, help="Crop size in pixels; by default, the input size of the model."),
    ] = None,
    faces: Annotated[
        dict[str, Any],
        Fields(
            PredictOptions, "detector", "face_threshold", "detect_size", "max_gap", "reidentify"
        ),
    ],
    parts: Annotated[
        str | None,
        typer.Option(
            help="Also extract the facial landmarks and parsing maps that FineCLIPER reads; the "
            "only supported value is mediapipe."
        ),
    ] = None,
    sound: Annotated[
        bool,
        typer.Option(
            "--sound",
            help="Also copy the sound of every video next to its crops, for models that read it.",
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("-j", "--workers", min=1, help="Number of threads; by default, one per core."),
    ] = None,
    progress: ProgressOpt = True,
) -> None:
    """Detect, track and crop the faces in all videos once, for use in training and evaluation.

    The model (-m) determines the crop geometry. To resume an interrupted run, repeat the command.
    """
    from peclip.data import read_splits
    from peclip.data.preparation.crop_record import CropConfig
    from peclip.data.preparation.face_crops import prepare as prepare_samples
    from peclip.settings import load_settings
    from peclip.video.parts import load_finder

    settings, config = load_settings(), check(DataConfig, data)
    options = check(PredictOptions, faces)
    preprocess = _crop_geometry(model)
    splits = read_splits(config.dataset, config.root, config.annotations, fold)
    samples = {s.source: s for split in splits for s in split.without_missing().samples}
    missing = {s.source for split in splits for s in split.missing}
    for note in dict.fromkeys(note for split in splits for note in split.notes):
        console.note(note)
    # Fails or warns once, before the threads.
    first = _load_detector(options.detector, options.face_threshold)
    if parts is not None:
        load_finder(parts, settings=settings)  # fails once, before the threads
    crops = CropConfig.of(
        preprocess,
        size=size,
        detector=first.name,
        threshold=options.face_threshold,
        tracking=options,
        parts=parts,
        sound=sound,
    )
    with console.progress_bar(enabled=progress) as bar:
        task = bar.add_task(f"preparing {config.dataset}", total=len(samples), position="")
        results = prepare_samples(
            samples.values(),
            config.root,
            output.expanduser(),
            crops,
            lambda: _load_detector(first.name, options.face_threshold),
            make_finder=None if parts is None else lambda: load_finder(parts, settings=settings),
            workers=workers,
            on_video=lambda _: bar.advance(task),
        )
    _print_prepared(
        results, num_missing=len(missing), with_parts=parts is not None, with_sound=sound
    )


def _print_prepared(
    results: list[Prepared], *, num_missing: int, with_parts: bool, with_sound: bool
) -> None:
    """Prints the outcome for the videos.

    Raises:
        typer.Exit: some are missing, or were not cropped.
    """
    from peclip.data.preparation.face_crops import count_status

    for result in results:
        if result.reason:
            console.error(f"{result.id}: {result.reason}")
    counts = count_status(results) | ({"missing": num_missing} if num_missing else {})
    typer.echo(", ".join(f"{count:,} {status}" for status, count in counts.items()))
    crops = sum(result.crops for result in results)
    if with_parts and crops:
        found = sum(result.parsed for result in results)
        typer.echo(f"parts found in {found:,} of {crops:,} new crops")
    if with_sound:
        heard = sum(result.has_sound for result in results)
        typer.echo(f"sound found in {heard:,} of {len(results):,} videos")
    if counts.keys() & {"decode_error", "no_face", "missing"}:
        raise typer.Exit(SOME_FAILED)


def _crop_geometry(model: str) -> PreprocessConfig:
    """Returns how a model crops faces.

    Raises:
        ConfigError: it reads whole frames.
    """
    preprocess = _preprocess(model)
    if preprocess.face_crop:
        return preprocess
    raise ConfigError(
        f"{model!r} reads whole frames, so it needs no face crops. Pass a model that reads face crops with -m, or "
        "use the videos as they are."
    )


def _preprocess(model: str) -> PreprocessConfig:
    """Returns how a model crops faces."""
    from peclip.settings import load_settings
    from peclip.weights.resolve import resolve

    return resolve(model, settings=load_settings(), with_tensors=False).config.preprocess


def _load_detector(detector: DetectorName, face_threshold: float = 0.7) -> FaceDetector:
    from peclip.settings import load_settings
    from peclip.video.detectors.registry import load_detector

    return load_detector(detector, settings=load_settings(), threshold=face_threshold)


def _print(report: CheckReport, model: str) -> None:
    from peclip.data.check_report import KINDS, NOTES

    labels = list(report.splits[0].counts)
    rows = [
        [split.title, f"{split.samples:,}", *(f"{split.counts[name]:,}" for name in labels)]
        for split in report.splits
    ]
    console.print_table(["split", "videos", *labels], rows)
    for kind, count in report.by_kind().items():
        mark = "note" if kind in NOTES else "problem"
        typer.echo(f"\n{mark}: {kind.replace('_', ' ')}, {count:,} ({KINDS[kind]})")
        found = [finding for finding in report.findings if finding.kind == kind]
        for finding in found[:_SHOWN]:
            typer.echo(printable(f"  {finding.where}: {finding.detail}"))
        if count > _SHOWN:
            typer.echo(f"  and {count - _SHOWN:,} more; use -f json to list them all")
    if report.faces is not None:
        typer.echo(f"\nframes: {_describe(report.faces, model)}")
    verdict = "no problems" if report.ok else f"{len(report.problems):,} problems"
    skipped = report.by_kind().get("skipped", 0)
    left_out = f", {skipped:,} {'file' if skipped == 1 else 'files'} skipped" if skipped else ""
    typer.echo(f"\n{report.videos:,} videos, {verdict}{left_out}")


def _describe(faces: FaceShare, model: str) -> str:
    share = "no face found" if faces.median_share is None else f"median {faces.median_share:.0%}"
    seen = f"{faces.frames_with_face} of {faces.frames} frames with a face, {faces.detector}"
    verdict = _VERDICTS[faces.verdict].format(model=printable(model))
    return f"{verdict} ({share} of the frame; {seen})"
