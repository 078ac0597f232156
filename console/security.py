"""What a request must bring before anything is done for it, and what every answer says to the browser."""

from __future__ import annotations

import hmac
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.sessions import Session, Sessions
from console.settings import ConsoleSettings

COOKIE = "deepdetect_console"
CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = ("GET", "HEAD")
OPEN_PATHS = ("/static/", "/ping")
LOGIN_PATHS = ("/",)  # what answers without a session; it sees to it itself

# Scripts, styles, pictures and calls from this console alone; nothing inline, nothing framed, nothing from elsewhere.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), geolocation=(), payment=()",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware: the `Host` is one of ours, the caller has a session, and changes come from our page alone.

    The session that it finds is `scope["state"]["session"]`.
    """

    def __init__(self, app: ASGIApp, settings: ConsoleSettings, sessions: Sessions) -> None:
        self.app = app
        self.settings = settings
        self.sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((key.encode(), value.encode()) for key, value in HEADERS.items() if key.encode() not in present),
                ]
            await send(message)

        refusal = self._check(scope)
        await (refusal or self.app)(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> Response | None:
        """Why the request goes no further; None where it may."""
        headers, path = Headers(scope=scope), scope["path"]
        if host_name(headers.get("host", "")) not in self.settings.host_names:
            return refused(421, "wrong_host", "this console is not known by that name; start it with --allow-host NAME")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and path != "/":
            return refused(403, "cross_site", "another site asked for this")
        if path.startswith(OPEN_PATHS):
            return None
        session = self.sessions.get(HTTPConnection(scope).cookies.get(COOKIE))
        scope.setdefault("state", {})["session"] = session
        if path in LOGIN_PATHS:
            return None
        if session is None:
            return refused(401, "no_session", "the session is over; load the page again")
        if scope["method"] not in SAFE_METHODS and not _same(headers.get(CSRF_HEADER, ""), session.csrf):
            return refused(403, "csrf", "the request did not come from the page of this session")
        return None


def open_session(settings: ConsoleSettings, sessions: Sessions, token: str) -> Session | None:
    """A new session for a browser that shows the token, where one is asked for; None where it is another.

    Raises:
        SessionError: there are too many.
    """
    return sessions.open() if not settings.token or _same(token, settings.token) else None


def set_cookie(response: Response, session: Session, *, is_https: bool) -> None:
    """Has the browser keep the session: out of reach of scripts, and sent by this site alone."""
    response.set_cookie(COOKIE, session.session_id, httponly=True, samesite="strict", secure=is_https, path="/")


def refused(status: int, code: str, message: str, **more: Any) -> JSONResponse:
    """A refusal in the form of the request contract."""
    return JSONResponse({"error": {"code": code, "message": message, "status": status, **more}}, status)


def host_name(host: str) -> str:
    """The `Host` header without its port."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
