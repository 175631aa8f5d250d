"""`peclip explain`: which frames, which parts of a face and which words a prediction rests on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from peclip.cli import console
from peclip.cli.field_options import Fields, from_fields, seconds
from peclip.cli.options import (
    DeviceOpt,
    LabelsOpt,
    ModelOpt,
    OverwriteOpt,
    ProgressOpt,
    check_output,
    read_labels,
)
from peclip.cli.reading_bar import ReadingBar
from peclip.config import check
from peclip.errors import ConfigError
from peclip.files import locked
from peclip.labels import LabelSet
from peclip.literals import ExplainMethod
from peclip.predict_options import PredictOptions
from peclip.results.figures import FIGURE_ENDINGS, check_matplotlib

if TYPE_CHECKING:
    from peclip.explain.explanation import Explanation, Finding

ENDINGS = (*FIGURE_ENDINGS, ".mp4", ".json")

_PLACES = (
    ("upper left", "upper middle", "upper right"),
    ("middle left", "middle", "middle right"),
    ("lower left", "lower middle", "lower right"),
)


def _method_name(text: str) -> str:
    """Reads a method; typer has no lists of a `Literal`."""
    known = get_args(ExplainMethod)
    if text not in known:
        raise typer.BadParameter(f"Unknown method {text!r}: choose from {', '.join(known)}.")
    return text


@from_fields
def explain(
    *,
    source: Annotated[
        str, typer.Argument(help="Video file, image, folder of frames, or http(s) URL of a file.")
    ],
    at: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="TIME",
            help="Explain the window around this time, such as 3.2s; by default, the window with the "
            "highest probability, which is that of --label if it is given.",
        ),
    ] = None,
    person: Annotated[
        int | None,
        typer.Option(
            help="Id of the person, as in the rows of `peclip predict`; by default any, and with "
            "--at the one with the largest face in the window."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Explain the probability of this label; by default, of the most likely."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            parser=_method_name,
            metavar="|".join(get_args(ExplainMethod)),
            help="Method; may be repeated. By default, all that the model supports except occlusion, "
            "which is slow.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Output file: a picture (.png, .pdf or .svg, requires the `plot` extra), a video "
            "(.mp4) or a document (.json). Use - for JSON on standard output.",
        ),
    ] = None,
    model: ModelOpt = "nano",
    options: Annotated[
        dict[str, Any], Fields(PredictOptions, without=("batch_size", "baseline", "tta"))
    ],
    labels: LabelsOpt = None,
    device: DeviceOpt = "auto",
    overwrite: OverwriteOpt = False,
    progress: ProgressOpt = True,
) -> None:
    """Explain a prediction: which frames, which parts of the face and which words it rests on.

    One person in one window is explained; without -o, a summary is printed. Examples:

    peclip explain clip.mp4 --at 3.2s --person 0 -o why.png

    peclip explain clip.mp4 --method leave-one-out --method occlusion -o why.json
    """
    checked = check(PredictOptions, options)
    for option, value in (("--at", at), ("--person", person)):
        if value is not None and not value >= 0:
            raise ConfigError(f"Invalid {option} {value:g}: use a number of at least 0.")
    stdout = output is not None and str(output) == "-"
    check_output(output, overwrite=overwrite, endings=ENDINGS)
    if output is not None and output.suffix.lower() in FIGURE_ENDINGS:
        check_matplotlib("A picture of an explanation")
    where = _source(source)
    own = None if labels is None else read_labels(labels)
    _check_model(model, device, checked, label, own)
    # After the checks, because these import torch.
    from peclip.explain.explaining import check_network
    from peclip.explain.explaining import explain as explain_video
    from peclip.explain.outputs import save
    from peclip.recognizers.loading import load

    loaded = check_network(load(model, device=device, precision="fp32"))
    if own is not None:
        loaded = loaded.with_labels(own)
    loaded.prepare(checked)
    end = checked.end if at is None else at
    with locked(None if stdout else output):
        with console.progress_bar(enabled=progress) as bar:
            found = explain_video(
                loaded,
                where,
                at=at,
                person=person,
                label=label,
                methods=cast(list[ExplainMethod], method or []),
                options=checked,
                follow=ReadingBar(bar, end=end).follow,
            )
        if output is None:
            _print(found)
        elif stdout:
            typer.echo(json.dumps(found.to_dict(), indent=2))
        else:
            save(found, output)
    if output is not None and not stdout:
        console.note(f"{output}: {_summary(found)}")


def _check_model(
    model: str,
    device: str,
    options: PredictOptions,
    label: str | None,
    own: Mapping[str, str] | None,
) -> None:
    """Checks the model and the explained label before torch is imported.

    Raises:
        UserError: the model is unknown, or an option does not fit it.
    """
    from peclip.recognizers.early_checks import check_model, check_prediction

    config = check_model(model)  # first: an exported model has no network
    check_prediction(model, device, "auto", options)
    labels = own if own is not None else None if config is None else config.labels
    if label is not None and labels is not None:
        LabelSet.of(labels).index(label)


def _source(text: str) -> str | Path | int:
    """Returns the only source of an argument, found as `peclip predict` finds it."""
    from peclip.downloads.address import without_password
    from peclip.video.omissions import Omissions
    from peclip.video.sources import expand_source, is_live_address

    found = expand_source(text, Omissions())
    if len(found) != 1:
        raise ConfigError(
            f"{text!r} has {len(found)} videos, and only the prediction for one can be explained. Name one of them."
        )
    where = found[0].location
    if isinstance(where, int) or (isinstance(where, str) and is_live_address(where)):
        raise ConfigError(
            f"{without_password(str(where))} is a live source, of which no window can be found again. "
            "Record it to a file, and explain that."
        )
    return where


def _summary(found: Explanation) -> str:
    who = "" if found.track_id < 0 else f"person {found.track_id}, "
    score = found.scores[found.label]
    what = f"{found.label} {score:.2f} (log-odds {found.log_odds:+.2f})"
    return f"{who}{found.start_s:.2f} to {found.end_s:.2f} s, {what}"


def _print(found: Explanation) -> None:
    """Prints what each method ranks highest."""
    typer.echo(_summary(found))
    lines = [[name, *_highest(finding, found)] for name, finding in found.findings.items()]
    console.print_table(["method", "highest", "unit"], lines)
    for remark in dict.fromkeys(f.remark for f in found.findings.values() if f.remark):
        console.note(remark)


def _highest(finding: Finding, found: Explanation) -> tuple[str, str]:
    """Returns the highest values of a finding, and their unit."""
    parts = []
    if finding.frames is not None:
        values = dict(zip(found.times_s, finding.frames.tolist(), strict=True))  # once per copy
        ranked = sorted(values.items(), key=lambda item: -item[1])[:3]
        times = [f"{time:.2f} s {value:.3g}" for time, value in ranked]
        parts.append(", ".join(times))
    if finding.maps is not None:
        mean = finding.maps.mean(0)
        row, column = divmod(int(mean.argmax()), mean.shape[1])
        third = 3 / mean.shape[0]
        parts.append(_PLACES[int((row + 0.5) * third)][int((column + 0.5) * third)])
    if finding.words:
        ranked_words = sorted(finding.words, key=lambda word: -word.similarity)
        phrases = [w for w in ranked_words if w.is_phrase] or ranked_words
        named = {w.text: f"{w.text} {w.similarity:.2f}" for w in phrases}
        parts.append(", ".join(list(named.values())[:3]))
    if finding.streams:
        parts.append(", ".join(f"{name} {weight:.2f}" for name, weight in finding.streams.items()))
    return "; ".join(parts), finding.unit
