"""`peclip serve`: predicts videos in a browser, and for other programs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.field_options import Fields, from_fields
from peclip.cli.interruption import Interruption
from peclip.cli.options import DeviceOpt, ModelOpt, PrecisionOpt
from peclip.config import check
from peclip.errors import MissingExtraError
from peclip.predict_options import PredictOptions
from peclip.serving.limits import ServeOptions


@from_fields
def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other than this machine needs --token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for any free one.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="PECLIP_SERVE_TOKEN",
            help="Token that clients must send, of at least 16 characters. Other users of this machine "
            "see options, but not the environment variable.",
        ),
    ] = None,
    model: ModelOpt = "nano",
    options: Annotated[dict[str, Any], Fields(ServeOptions)],
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
) -> None:
    """Serve a page in the browser, and a REST API, that recognise expressions in videos.

    Requires the `web` extra. Videos stay on this machine, and are deleted after --keep seconds. Example:

    peclip serve
    """
    checked = check(ServeOptions, options)
    try:
        from peclip.serving.security import Access, check_access
        from peclip.serving.server import serve as run
        from peclip.serving.service import Service
    except ImportError:
        raise MissingExtraError("peclip serve", "web") from None
    check_access(host, token)
    from peclip.recognizers.early_checks import check_prediction

    check_prediction(model, device, precision, PredictOptions())
    service = Service(checked, model=model, device=device, precision=precision)
    console.note(f"loading {model}")

    def tell(address: str) -> None:
        console.note(f"{address} (Ctrl-C ends the server)")

    try:
        with (
            Interruption() as interruption
        ):  # while the model is loaded; then the server handles signals
            interruption.release()
            asyncio.run(run(service, Access(host, token), port=port, on_start=tell))
    finally:
        service.remove_files()
