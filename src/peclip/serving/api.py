"""The application: the page, the API, and what guards them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse, PlainTextResponse

from peclip.serving.description import METRICS, sends
from peclip.serving.prediction_routes import Served, router
from peclip.serving.responses import add_error_handlers, error_response
from peclip.serving.security import COOKIE, Access, Guard
from peclip.serving.service import Service
from peclip.serving.views import HealthView, ModelsView, TokenView
from peclip.version import VERSION

PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/drawing.js": ("drawing.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/style.css": ("style.css", "text/css"),
    "/uplot.js": ("uplot.js", "text/javascript"),
    "/uplot.css": ("uplot.css", "text/css"),
}

general = APIRouter()


def create_app(service: Service, access: Access) -> FastAPI:
    """Returns the application of a server.

    Args:
        service: its state, which must be running while the application is used.
        access: who may use it.
    """
    # Their pages would load scripts from other servers.
    app = FastAPI(
        title="peclip", version=VERSION, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.service, app.state.access = service, access
    add_error_handlers(app)
    app.include_router(router)
    app.include_router(general)
    for path, (name, media_type) in _PAGE_FILES.items():
        app.add_api_route(path, _sends(name, media_type), include_in_schema=False)
    app.add_api_route(
        "/v1/session", _session_route(access), methods=["POST"], include_in_schema=False
    )
    app.add_middleware(Guard, access=access, metrics=service.metrics)
    return app


@general.get("/v1/models", response_model=ModelsView)
async def read_models(service: Served) -> Any:
    """Get the model of this server, its labels and their colours, and the limits."""
    options = service.options
    limits = {
        "max_bytes": options.max_bytes,
        "max_seconds": options.max_seconds,
        "max_pixels": options.max_pixels,
        "keep_s": options.keep,
    }
    return {"models": [service.worker.model], "limits": limits}


@general.get("/health", response_model=HealthView)
async def read_health(service: Served, response: Response) -> Any:
    """Check whether videos can be predicted; the status is 503 while a worker process starts."""
    if not service.worker.ready:
        response.status_code = 503
    return {"status": "ok" if service.worker.ready else "starting", "version": VERSION}


@general.get("/metrics", response_class=PlainTextResponse, responses=sends("text/plain", METRICS))
async def read_metrics(service: Served) -> PlainTextResponse:
    """Get counts in the text format of Prometheus."""
    text = service.metrics.text(service.gauges())
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _sends(name: str, media_type: str) -> Any:
    async def send() -> FileResponse:
        return FileResponse(PAGE / name, media_type=f"{media_type}; charset=utf-8")

    return send


def _session_route(access: Access) -> Any:
    async def create_session(given: TokenView) -> Response:
        """Exchange the token for a cookie, since a browser cannot send it with each image and download."""
        if not access.is_token(given.token):
            return error_response(401, "wrong_token", "This is not the token of this server.")
        response = Response(status_code=204)
        response.set_cookie(COOKIE, access.session, httponly=True, samesite="strict", path="/")
        return response

    return create_session
