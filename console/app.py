"""The web application: the page, its calls, and what guards both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jinja2 import StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from console.api import HANDLERS, ROUTES, services, session_of
from console.detector import Detector
from console.security import COOKIE, Guard, open_session, refused, set_cookie
from console.services import Services
from console.sessions import SessionError
from console.settings import ConsoleSettings
from console.strings import strings

HERE = Path(__file__).parent

templates = Jinja2Templates(HERE / "templates")
templates.env.undefined = StrictUndefined
templates.env.trim_blocks = templates.env.lstrip_blocks = True


async def page(request: Request) -> Response:
    """The page; opens a session where there is none, for those who show the token if one is asked for."""
    here, session = services(request), request.scope["state"]["session"]
    if session is not None and "token" in request.query_params:
        return RedirectResponse("/", 303)  # so that the token leaves the address bar
    if session is None:
        try:
            opened = open_session(here.settings, here.sessions, request.query_params.get("token", ""))
        except SessionError as error:
            return refused(503, error.code, str(error))
        if opened is None:
            context = {"strings": strings(), "was_wrong": "token" in request.query_params}
            return templates.TemplateResponse(request, "token.html", context, status_code=401)
        response: Response = RedirectResponse("/", 303)
        set_cookie(response, opened, is_https=request.url.scheme == "https")
        return response
    context = {
        "strings": strings(),
        # Inside a script element of type application/json, "</" would end it.
        "strings_json": json.dumps(strings()).replace("<", "\\u003c"),
        "csrf": session.csrf,
        "max_files": here.settings.max_files,
        "is_keeping": here.settings.keep_dir is not None,
    }
    return templates.TemplateResponse(request, "page.html", context)


async def end(request: Request) -> Response:
    """Ends the session: its files and results are gone."""
    services(request).sessions.end(session_of(request))
    response = JSONResponse({"ended": True})
    response.delete_cookie(COOKIE, path="/")
    return response


async def ping(request: Request) -> Response:
    """Whether the console runs."""
    return PlainTextResponse("ok")


def create_app(settings: ConsoleSettings, detector: Detector | None = None) -> Starlette:
    """The ASGI application.

    Args:
        detector: None makes one that finds its keys by itself.
    """
    parts = Services.of(settings, detector)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        parts.close()

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/ping", ping),
            Route("/api/session/end", end, methods=["POST"]),
            *ROUTES,
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(Guard, settings=settings, sessions=parts.sessions)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.state.services = parts
    return app
