"""`peclip captions`: what a language model says about the faces of a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.data import AnnotationsOpt, DataRootOpt, DatasetOpt, FoldOpt
from peclip.cli.options import DeviceOpt, ProgressOpt
from peclip.errors import SOME_FAILED, ConfigError

if TYPE_CHECKING:
    from peclip.captions.describe import Captioner, Described
    from peclip.data import Sample

ModelOpt = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="A video-text model of transformers, on this machine: LanguageBind/Video-LLaVA-7B-hf, "
        "another repository of the hub, or a directory.",
    ),
]
EndpointOpt = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="Instead of --model: an OpenAI-compatible server, http://localhost:8000/v1. Frames of "
        "people are sent to it.",
    ),
]
EndpointOptionsOpt = Annotated[
    str | None,
    typer.Option(
        "--endpoint-options",
        help='Fields of the request instead of \'{"temperature": 0, "max_tokens": 300}\'.',
    ),
]


def captions(
    dataset: DatasetOpt,
    data_root: DataRootOpt,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A .jsonl file; one that is there goes on.")
    ],
    annotations: AnnotationsOpt = None,
    fold: FoldOpt = None,
    split: Annotated[
        str | None, typer.Option("--split", help="train, val or test; by default all of them.")
    ] = None,
    own: Annotated[
        bool,
        typer.Option("--own", help="What comes with the data set (mafw), instead of a model's."),
    ] = False,
    model: ModelOpt = None,
    endpoint: EndpointOpt = None,
    endpoint_model: Annotated[
        str | None, typer.Option("--endpoint-model", help="What the server calls its model.")
    ] = None,
    endpoint_options: EndpointOptionsOpt = None,
    num_frames: Annotated[
        int, typer.Option("--num-frames", min=1, max=256, help="Frames that the model sees.")
    ] = 8,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Stop after so many videos.")
    ] = None,
    device: DeviceOpt = "auto",
    progress: ProgressOpt = True,
) -> None:
    """Caption the videos of a data set with a language model, for models that read captions.

    One line per video, written at once: a run that was interrupted goes on where it stopped.
    """
    from peclip.captions.describe import describe
    from peclip.captions.store import CaptionStore

    if own:
        if model is not None or endpoint is not None or limit is not None:
            raise ConfigError("--own asks no model: leave --model, --endpoint and --limit out.")
        _copy_own(dataset, data_root, annotations, fold, split, output)
        return
    samples = _read_samples(dataset, data_root, annotations, fold, split)
    with CaptionStore(output.expanduser()) as store:
        captioner = _load_captioner(model, device, endpoint, endpoint_model, endpoint_options)
        kept = sum(sample.id in store for sample in samples)
        ahead = min(len(samples) - kept, limit or len(samples))
        with console.progress_bar(enabled=progress) as bar:
            task = bar.add_task(f"captioning {dataset}", total=ahead, position="")

            def show(done: Described) -> None:
                bar.advance(task)
                if done.reason:
                    console.error(f"{done.id}: {done.reason}")

            results = describe(
                samples, captioner, store, num_frames=num_frames, limit=limit, on_video=show
            )
    statuses = ("ok", "empty", "unanswered", "failed")
    counts = {name: sum(r.status == name for r in results) for name in statuses}
    counts |= {"kept": kept, "ahead": len(samples) - kept - len(results)}
    typer.echo(", ".join(f"{count:,} {name}" for name, count in counts.items() if count))
    if counts["unanswered"] or counts["failed"]:
        raise typer.Exit(SOME_FAILED)


def _copy_own(
    dataset: str,
    data_root: Path,
    annotations: Path | None,
    fold: int | None,
    split: str | None,
    output: Path,
) -> None:
    from peclip.captions.describe import copy_own
    from peclip.captions.store import CaptionStore
    from peclip.data import DATASETS, find_benchmark

    read = find_benchmark(dataset).own_captions
    if read is None:
        known = ", ".join(name for name, benchmark in DATASETS.items() if benchmark.own_captions)
        raise ConfigError(f"{dataset} comes without captions of its own; {known} has some.")
    samples = _read_samples(dataset, data_root, annotations, fold, split)
    lists = None if annotations is None else annotations.expanduser()
    with CaptionStore(output.expanduser()) as store:
        kept = sum(sample.id in store for sample in samples)
        results = copy_own(samples, read(data_root.expanduser(), lists), store, f"{dataset}'s own")
    counts = {name: sum(r.status == name for r in results) for name in ("ok", "empty")}
    counts |= {"kept": kept, "without": len(samples) - kept - len(results)}
    typer.echo(", ".join(f"{count:,} {name}" for name, count in counts.items() if count))


def _read_samples(
    dataset: str, data_root: Path, annotations: Path | None, fold: int | None, split: str | None
) -> list[Sample]:
    from peclip.data import read_splits

    lists = None if annotations is None else annotations.expanduser()
    splits = read_splits(dataset, data_root.expanduser(), lists, fold)
    names = list(dict.fromkeys(part.split for part in splits))
    if split is not None and split not in names:
        raise ConfigError(f"{dataset} has no split {split!r} here; it has {', '.join(names)}.")
    chosen = [part.without_missing() for part in splits if split in (None, part.split)]
    missing = {
        sample.id for part in splits if split in (None, part.split) for sample in part.missing
    }
    if missing:
        console.note(f"{len(missing):,} videos are listed but not there; they are left out.")
    return list({sample.id: sample for part in chosen for sample in part.samples}.values())


def _load_captioner(
    model: str | None,
    device: str,
    endpoint: str | None,
    endpoint_model: str | None,
    endpoint_options: str | None,
) -> Captioner:
    from peclip.captions.endpoint import DEFAULT_OPTIONS, EndpointCaptioner
    from peclip.captions.transformers_model import TransformersCaptioner
    from peclip.settings import load_settings

    if model is not None and endpoint is None:
        return TransformersCaptioner(model, device, settings=load_settings())
    if model is not None or endpoint is None or endpoint_model is None:
        raise ConfigError(
            "Give either --model NAME, or --endpoint URL with --endpoint-model NAME: one of them captions."
        )
    options = DEFAULT_OPTIONS if endpoint_options is None else _read_options(endpoint_options)
    captioner = EndpointCaptioner(
        endpoint, endpoint_model, settings=load_settings(), options=options
    )
    if not captioner.is_local:
        console.note(f"Frames of people leave this machine: they are sent to {captioner.host}.")
    return captioner


def _read_options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise ConfigError(
            f"--endpoint-options {text!r} is no JSON object; give one such as '{{\"temperature\": 0}}'."
        )
    return options
