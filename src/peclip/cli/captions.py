"""`peclip captions`: captions of the faces in a data set, written by a language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.data import FoldOpt
from peclip.cli.data_options import DataGroup
from peclip.cli.field_options import from_fields
from peclip.cli.options import DeviceOpt, ProgressOpt
from peclip.config import check
from peclip.data.config import DataConfig
from peclip.errors import SOME_FAILED, ConfigError
from peclip.text.parsing import parse_json

if TYPE_CHECKING:
    from peclip.captions.describe import Captioner, Described
    from peclip.data import Sample

ModelOpt = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="Video-text model to run locally with transformers: a hub repository such as "
        "LanguageBind/Video-LLaVA-7B-hf, or a directory.",
    ),
]
EndpointOpt = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="URL of an OpenAI-compatible server to use instead of --model, such as "
        "http://localhost:8000/v1. Video frames showing people are sent to this server.",
    ),
]
EndpointOptionsOpt = Annotated[
    str | None,
    typer.Option(
        "--endpoint-options",
        help="Request fields for the server as a JSON object; replaces the default "
        '\'{"temperature": 0, "max_tokens": 300}\'.',
    ),
]


@from_fields
def captions(
    *,
    data: DataGroup,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Output .jsonl file; if the file exists, the run is resumed."
        ),
    ],
    fold: FoldOpt = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Split to caption: train, val or test; by default, all splits."
        ),
    ] = None,
    own: Annotated[
        bool,
        typer.Option("--own", help="Use the captions included in the data set (mafw only)."),
    ] = False,
    model: ModelOpt = None,
    endpoint: EndpointOpt = None,
    endpoint_model: Annotated[
        str | None,
        typer.Option("--endpoint-model", help="Name of the model on the --endpoint server."),
    ] = None,
    endpoint_options: EndpointOptionsOpt = None,
    num_frames: Annotated[
        int,
        typer.Option(
            "--num-frames", min=1, max=256, help="Number of frames per video passed to the model."
        ),
    ] = 8,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Stop after this many videos.")
    ] = None,
    device: DeviceOpt = "auto",
    progress: ProgressOpt = True,
) -> None:
    """Generate captions for the videos in a data set with a video-text model.

    Models that read captions require them for training. Each caption is saved as soon as it is generated,
    so an interrupted run can be resumed.
    """
    from peclip.captions.describe import describe
    from peclip.captions.store import CaptionStore

    config = check(DataConfig, data)
    if own:
        if model is not None or endpoint is not None or limit is not None:
            raise ConfigError(
                "--own cannot be combined with --model, --endpoint or --limit; remove them."
            )
        _copy_own(config, fold, split, output)
        return
    samples = _read_samples(config, fold, split)
    with CaptionStore(output.expanduser()) as store:
        captioner = _load_captioner(model, device, endpoint, endpoint_model, endpoint_options)
        kept = sum(sample.id in store for sample in samples)
        ahead = min(len(samples) - kept, limit or len(samples))
        with console.progress_bar(enabled=progress) as bar:
            task = bar.add_task(f"captioning {config.dataset}", total=ahead, position="")

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


def _copy_own(config: DataConfig, fold: int | None, split: str | None, output: Path) -> None:
    from peclip.captions.describe import copy_own
    from peclip.captions.store import CaptionStore
    from peclip.data import DATASETS, find_benchmark

    dataset = config.dataset
    read = find_benchmark(dataset).own_captions
    if read is None:
        known = ", ".join(name for name, benchmark in DATASETS.items() if benchmark.own_captions)
        raise ConfigError(
            f"--own requires a data set that includes captions ({known}); {dataset} does not. "
            "Use --model or --endpoint to generate captions."
        )
    samples = _read_samples(config, fold, split)
    with CaptionStore(output.expanduser()) as store:
        kept = sum(sample.id in store for sample in samples)
        own = read(config.root, config.annotations)
        results = copy_own(samples, own, store, f"{dataset}'s own")
    counts = {name: sum(r.status == name for r in results) for name in ("ok", "empty")}
    counts |= {"kept": kept, "without": len(samples) - kept - len(results)}
    typer.echo(", ".join(f"{count:,} {name}" for name, count in counts.items() if count))


def _read_samples(config: DataConfig, fold: int | None, split: str | None) -> list[Sample]:
    from peclip.data import read_splits

    splits = read_splits(config.dataset, config.root, config.annotations, fold)
    names = list(dict.fromkeys(part.split for part in splits))
    if split is not None and split not in names:
        raise ConfigError(
            f"{config.dataset} has no split {split!r}; choose one of {', '.join(names)}."
        )
    chosen = [part.without_missing() for part in splits if split in (None, part.split)]
    missing = {
        sample.id for part in splits if split in (None, part.split) for sample in part.missing
    }
    if missing:
        console.note(f"{len(missing):,} listed videos are missing and will be skipped.")
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
            "To generate captions, pass either --model NAME or --endpoint URL with "
            "--endpoint-model NAME."
        )
    options = DEFAULT_OPTIONS if endpoint_options is None else _read_options(endpoint_options)
    captioner = EndpointCaptioner(
        endpoint, endpoint_model, settings=load_settings(), options=options
    )
    if not captioner.is_local:
        console.note(
            f"Video frames showing people leave this machine: they are sent to {captioner.host}."
        )
    return captioner


def _read_options(text: str) -> dict[str, Any]:
    try:
        options = parse_json(text)
    except ConfigError:
        options = None
    if not isinstance(options, dict):
        raise ConfigError(
            f"Invalid --endpoint-options {text!r}: use a JSON object such as '{{\"temperature\": 0}}'."
        )
    return options
