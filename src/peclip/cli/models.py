"""`peclip models`: lists, describes, downloads and locates models."""

from __future__ import annotations

from pathlib import PurePath
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.options import ReportFormatOpt, print_report
from peclip.text.display import printable

if TYPE_CHECKING:
    from peclip.config import ModelConfig
    from peclip.downloads.direct import RemoteFile
    from peclip.exported.facts import ExportedFacts

models = typer.Typer(no_args_is_help=True, help="List, describe, download and locate models.")

NameArg = Annotated[str, typer.Argument(help="Model name, as for --model.")]


@models.command("list")
def list_models(
    form: ReportFormatOpt = "table",
    backbones: Annotated[
        bool,
        typer.Option(
            "--backbones",
            help="List all backbones of open_clip instead: what each can do, or why it cannot be adapted.",
        ),
    ] = False,
) -> None:
    """List the models that can be loaded by name."""
    if backbones:
        _list_backbones(form)
        return
    from peclip.weights.resolve import BACKBONES, EMBEDDED, SPECIAL

    known = EMBEDDED | BACKBONES | SPECIAL
    document = [{"name": name, "description": text} for name, text in known.items()]
    print_report(form, document, lambda: _print_models(known))


def _print_models(known: dict[str, str]) -> None:
    console.print_table(["name", "description"], list(known.items()))
    console.note(
        "You can also pass any other backbone of open_clip that peclip models list --backbones lists, as "
        "BACKBONE/WEIGHTS; a file of weights, as BACKBONE/file:PATH; a directory; or a hub "
        "repository. For an untrained FineCLIPER model, use finecliper:BACKBONE/WEIGHTS; for "
        "plain CLIP, use clip:BACKBONE/WEIGHTS, and for CLIP with LoRA, lora:BACKBONE/WEIGHTS."
    )


def _list_backbones(form: ReportFormatOpt) -> None:
    from dataclasses import asdict

    from peclip.settings import load_settings
    from peclip.weights.backbone_list import list_backbones

    shown: list[str] = []

    def advance(name: str) -> None:
        if not shown:
            console.note("Building every backbone without its weights; this takes a minute, once.")
        shown.append(name)

    found = list_backbones(load_settings(), advance=advance)
    columns = ["backbone", "pixels", "pooling", "positions", "text mask", "context", "tokenizer"]
    rows = [
        [
            b.name,
            str(b.image_size),
            b.pooling,
            b.positions,
            b.text_mask,
            str(b.context),
            b.tokenizer,
        ]
        for b in found
        if not b.reason
    ]
    refused = [[b.name, b.reason] for b in found if b.reason]

    def show() -> None:
        console.print_table(columns, rows)
        typer.echo()
        console.print_table(["not supported", "because"], refused)

    print_report(form, [asdict(backbone) for backbone in found], show)


@models.command()
def info(name: NameArg, form: ReportFormatOpt = "table") -> None:
    """Show the architecture, labels and parameters of a model without downloading its backbone."""
    if (facts := _exported_facts(name)) is not None:
        about: dict[str, Any] = facts.model_dump(mode="json", exclude={"texts", "format_version"})
        about |= {
            "architecture": facts.config.architecture,
            "backbone": facts.config.backbone,
            "labels": {label: facts.texts[label] for label in facts.config.labels},
        }
        print_report(form, about, lambda: _print_facts(about, facts.config))
        return
    from peclip.settings import load_settings
    from peclip.weights.resolve import resolve

    checkpoint = resolve(name, settings=load_settings(), with_tensors=False)
    from peclip.weights.parameter_counts import count_parameters, outline  # imports torch

    config, counts = checkpoint.config, count_parameters(checkpoint.config)
    about = {
        "name": checkpoint.name,
        "revision": checkpoint.revision,
        "architecture": config.architecture,
        "backbone": config.backbone,
        "pretrained": config.pretrained,
        "labels": dict(zip(config.labels, outline(config).texts, strict=True)),
        "total": sum(counts["total"].values()),
        "trainable": sum(counts["trainable"].values()),
        "parts": {
            part: {kind: counts[kind][part] for kind in ("total", "trainable")}
            for part in counts["total"]
        },
        "config": config.model_dump(mode="json"),
    }
    print_report(form, about, lambda: _print_info(about, config))


def _print_facts(about: dict[str, Any], config: ModelConfig) -> None:
    """Prints what is known of every model, and of an exported one its licence and its version of peclip."""
    keys = ("name", "architecture", "backbone", "pretrained", "licence", "peclip_version")
    for key in (key for key in keys if key in about):
        typer.echo(f"{key.replace('_', ' '):<14} {printable(about[key] or '-')}")
    typer.echo(f"{'frames':<14} {config.num_frames} of {config.preprocess.image_size} pixels")
    if config.prior_weight is not None:
        typer.echo(f"{'prior weight':<14} {config.prior_weight:g}")
    typer.echo()
    columns, texts = ["label", "text"], [list(pair) for pair in about["labels"].items()]
    if config.prior is not None:
        columns.append("prior")
        texts = [[*row, f"{config.prior[row[0]]:.4f}"] for row in texts]
    console.print_table(columns, texts)


def _print_info(about: dict[str, Any], config: ModelConfig) -> None:
    _print_facts(about, config)
    rows = [
        [part, f"{n['total']:>14,}", f"{n['trainable']:>14,}"] for part, n in about["parts"].items()
    ]
    rows.append(["all", f"{about['total']:>14,}", f"{about['trainable']:>14,}"])
    typer.echo()
    console.print_table(["part", f"{'parameters':>14}", f"{'trainable':>14}"], rows)


@models.command()
def download(name: NameArg) -> None:
    """Download a model, the face detector `yunet` or the landmark detector `landmarker`, for offline use."""
    from peclip.downloads.direct import fetch
    from peclip.settings import load_settings
    from peclip.weights.resolve import find_config, resolve

    settings, file = load_settings(), _file_of(name)
    if file is not None:
        typer.echo(fetch(file, settings.cache_dir, settings=settings))
        return
    find_config(name, settings=settings)  # before torch is imported
    from peclip.weights.checkpoint import load_model

    load_model(resolve(name, settings=settings), settings=settings)
    console.note(f"{name} is downloaded.")


@models.command()
def path(name: NameArg) -> None:
    """Print the path where a model, `yunet` or `landmarker` is or will be cached."""
    if _exported_facts(name) is not None:
        typer.echo(name)
        return
    from peclip.settings import load_settings
    from peclip.weights.resolve import locate

    settings, file = load_settings(), _file_of(name)
    typer.echo(locate(name, settings=settings) if file is None else settings.cache_dir / file.name)


def _exported_facts(name: str) -> ExportedFacts | None:
    """Returns what the file of an exported model states, `None` for any other name of a model."""
    from peclip.exported.registry import EXPORTED

    if (form := EXPORTED.get(PurePath(name).suffix.lower())) is None:
        return None
    facts: ExportedFacts = resolve_name(form.read_facts)(name)
    return facts


def _file_of(name: str) -> RemoteFile | None:
    """Returns the file of the face detector or the landmark detector of a name."""
    from peclip.video.detectors.registry import DETECTORS
    from peclip.video.parts import LANDMARKER

    files = {str(known): detector.file for known, detector in DETECTORS.items()}
    return (files | {"landmarker": LANDMARKER}).get(name)
