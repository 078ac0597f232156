"""What the page asks for: files, results, explanations, comparisons, exports."""

from __future__ import annotations

from typing import Any

import requests
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from client.errors import ClientError
from console import exports, uploads
from console.clip import DECISIONS, Clip, Record, State
from console.commands import commands
from console.detector import call_error
from console.faces import DEFAULT_MARGIN, faces_of
from console.health import model_card
from console.scores import tracks
from console.security import refused
from console.services import Services
from console.sessions import Session, SessionError
from console.strings import advice_of, error_advice
from console.uploads import UploadError
from console.validation import curves_of, judged_by, meaning

MAX_LIVE_BYTES = 16 * 2**20  # a few seconds of a camera
# More than the verdict rests on: the line over time is finer so. The verdict stays that of the plain answer.
EXPLAIN_FRAMES = 16
EXPORTS = {
    "csv": ("text/csv; charset=utf-8", exports.to_csv),
    "json": ("application/json", exports.to_json),
}


class UnknownClipError(LookupError):
    """The session has no such file."""


def services(request: Request) -> Services:
    """The parts of the console."""
    found: Services = request.app.state.services
    return found


def session_of(request: Request) -> Session:
    """The caller's session, which the guard has found."""
    session: Session = request.scope["state"]["session"]
    return session


def clip_of(request: Request) -> Clip:
    """The file that the path names.

    Raises:
        UnknownClipError: this session has none such.
    """
    try:
        return session_of(request).clips[request.path_params["clip_id"]]
    except KeyError:
        raise UnknownClipError(request.path_params["clip_id"]) from None


async def list_clips(request: Request) -> Response:
    """What has changed since a revision."""
    since = request.query_params.get("since", "0")
    return JSONResponse(session_of(request).changes(int(since) if since.isdecimal() else 0))


async def add_clip(request: Request) -> Response:
    """Takes the body as a file, named by `name`, and puts it into the queue."""
    session, here = session_of(request), services(request)
    try:
        limit = await run_in_threadpool(here.detector.max_file_bytes)
        n_bytes = uploads.declared_length(request.headers.get("content-length"), limit)
        session.reserve(n_bytes)
    except SessionError as error:
        return refused(409, error.code, str(error))
    except UploadError as error:
        return refused(error.status, error.code, str(error))
    try:
        clip = await uploads.receive(session, request.query_params.get("name", ""), n_bytes, request.stream())
        session.add(clip)
    except UploadError as error:
        return refused(error.status, error.code, str(error))
    finally:
        session.release(n_bytes)
    here.queue.submit(session, clip)
    return JSONResponse(clip.summary(), 201)


async def show_clip(request: Request) -> Response:
    """Everything about one file."""
    return JSONResponse(await run_in_threadpool(_details, request, clip_of(request)))


async def clip_media(request: Request) -> Response:
    """The file itself, for the player; never as a page."""
    clip = clip_of(request)
    headers = {"content-security-policy": "default-src 'none'; sandbox"}
    return FileResponse(clip.path, media_type=clip.media_type, headers=headers)


async def cancel_clip(request: Request) -> Response:
    """Takes a file out of the queue."""
    clip = clip_of(request)
    services(request).queue.cancel(session_of(request), clip)
    return JSONResponse(clip.summary())


async def retry_clip(request: Request) -> Response:
    """Sends a file again that failed or was cancelled."""
    clip = clip_of(request)
    services(request).queue.retry(session_of(request), clip)
    return JSONResponse(clip.summary())


async def decide_clip(request: Request) -> Response:
    """Notes what the reviewer makes of a file; an empty value takes it back."""
    clip, value = clip_of(request), request.query_params.get("value", "")
    if value not in DECISIONS:
        return refused(400, "bad_decision", f"decision {value!r} is none of {', '.join(DECISIONS[1:])}")
    clip.decision = value
    session_of(request).touch(clip)
    return JSONResponse(clip.summary())


async def remove_clip(request: Request) -> Response:
    """Forgets a file."""
    session_of(request).remove(clip_of(request))
    return Response(status_code=204)


async def explain_clip(request: Request) -> Response:
    """Asks the server for scores and heat maps, once."""
    clip = clip_of(request)
    if clip.state is not State.DONE:
        return refused(409, "no_verdict", "a file without a verdict cannot be explained")
    if clip.explanation is None:
        version = clip.answer["model"]["version"] if clip.answer else None  # it may not be the default any more
        options = {"explain": True, "frames": EXPLAIN_FRAMES}
        outcome = await _predict(request, clip, options=options, version=version)
        if outcome["error"]:
            return JSONResponse(outcome, 502)
        clip.explanation = outcome["answer"]
    return JSONResponse(await run_in_threadpool(_details, request, clip))


async def compare_clip(request: Request) -> Response:
    """Has another version of the model judge the file."""
    clip, version = clip_of(request), request.query_params.get("version", "")
    if version not in clip.compared:
        outcome = await _predict(request, clip, version=version)
        if outcome["error"]:
            return JSONResponse(outcome, 502)
        clip.compared[version] = outcome
    return JSONResponse(clip.compared[version])


async def live(request: Request) -> Response:
    """Judges a few seconds from camera and microphone; nothing of them is kept."""
    try:
        n_bytes = uploads.declared_length(request.headers.get("content-length"), MAX_LIVE_BYTES)
    except UploadError as error:
        return refused(error.status, error.code, str(error))
    data = await request.body()
    if len(data) != n_bytes:
        return refused(400, "incomplete", f"{len(data)} of {n_bytes} bytes arrived")
    outcome = await run_in_threadpool(services(request).detector.predict, data, "camera.webm")
    return JSONResponse(outcome.record | {"advice": advice_of(outcome.answer or {})})


async def show_models(request: Request) -> Response:
    """The versions that are served, and what their archives say they are worth."""
    here = services(request)

    def read() -> Record:
        try:
            versions = here.detector.versions()
        except ClientError as error:
            return {"error": call_error(error), "versions": []}
        rows = []
        for served in versions:
            try:
                manifest = here.detector.manifest(served)
            except ClientError as error:
                manifest = {"error": str(error)}
            rows.append(
                {
                    "model": served.model,
                    "version": served.version,
                    "is_default": served.is_default,
                    "archive": served.archive,
                    "digest": manifest.get("digest"),
                    "card": model_card(manifest),
                    "error": manifest.get("error"),
                }
            )
        return {"error": None, "versions": rows, "model": here.settings.model}

    return JSONResponse(await run_in_threadpool(read))


async def show_health(request: Request) -> Response:
    """Workers, queues, latency and cache."""
    return JSONResponse(await run_in_threadpool(services(request).health.read))


async def show_limits(request: Request) -> Response:
    """What an upload may be."""
    limit = await run_in_threadpool(services(request).detector.max_file_bytes)
    return JSONResponse({"max_file_bytes": limit})


async def export(request: Request) -> Response:
    """The results as a file to save."""
    kind, clips = request.path_params["kind"], list(session_of(request).clips.values())
    wanted = request.query_params.get("ids")
    if wanted:
        clips = [clip for clip in clips if clip.clip_id in wanted.split(",")]
    threshold = _threshold(request.query_params.get("threshold"))
    headers = {"content-disposition": f'attachment; filename="deepdetect-report.{kind}"'}
    if kind in EXPORTS:
        media_type, write = EXPORTS[kind]
        return Response(write(clips, threshold), media_type=media_type, headers=headers)
    if kind != "html":
        return refused(404, "unknown_export", "exports are csv, json and html")
    title, note = (request.query_params.get(name, "")[:2_000] for name in ("title", "note"))
    detector = services(request).detector
    page = await run_in_threadpool(exports.to_html, clips, threshold, detector, title, note)
    # The report has a style of its own inside, and nothing else: it runs no script, wherever it is opened.
    headers["content-security-policy"] = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def _threshold(text: str | None) -> float | None:
    try:
        threshold = float(text or "")
    except ValueError:
        return None
    return threshold if 0 <= threshold <= 1 else None


async def _predict(request: Request, clip: Clip, **call: Any) -> Record:
    detector = services(request).detector

    def run() -> Record:
        try:
            data = clip.path.read_bytes()
        except OSError:
            return {"answer": None, "error": {"code": "upload_lost", "message": "the upload is gone"}, "took_s": 0.0}
        return detector.predict(data, clip.name, **call).record

    outcome: Record = await run_in_threadpool(run)
    return outcome


def _details(request: Request, clip: Clip) -> Record:
    """The clip as the page shows it: the answer, and what the console adds to it."""
    here = services(request)
    record = clip.summary() | {"answer": clip.answer, "media_type": clip.media_type, "explanation": None}
    if clip.error:
        return record | {"advice": error_advice(clip.error["code"])}
    if clip.answer is None:
        return record
    explained = clip.explanation or {}
    explanation = explained.get("explanation", {})
    finer = explained or clip.answer  # scores over time and places of faces
    manifest = here.detector.manifest_of(clip.answer["model"]["version"])
    curves = curves_of(manifest)
    by_split = curves.get(judged_by(clip.answer), {})
    spec = manifest.get("artifacts", {}).get("video", {}).get("spec", {})
    not_explained = [one for one in advice_of(explained) if one["code"] == "not_explained"]
    return record | {
        "explanation": explanation or None,
        "tracks": {track.modality: track.to_dict() for track in tracks(finer, explanation)},
        "warnings": [*advice_of(clip.answer), *not_explained],
        "faces": faces_of(finer["modalities"].get("video", {}), spec.get("face_margin", DEFAULT_MARGIN)),
        "judged_by": judged_by(clip.answer),
        "meaning": meaning(clip.answer["probabilities"]["fake"], by_split),
        "curves": {split: one.get("operating_points") for split, one in by_split.items()},
        "counts": {split: one.get("counts") for split, one in by_split.items()},
        "commands": commands(here.settings, clip.answer, clip.name),
        "compared": clip.compared,
    }


async def unknown_clip(request: Request, error: Exception) -> Response:
    """For `UnknownClipError`."""
    return refused(404, "unknown_clip", "this session has no such file")


async def server_unreachable(request: Request, error: Exception) -> Response:
    """For errors of the connection to the server."""
    return refused(502, "server", str(error))


HANDLERS: dict[Any, Any] = {UnknownClipError: unknown_clip, requests.RequestException: server_unreachable}

ROUTES = [
    Route("/api/clips", list_clips),
    Route("/api/clips", add_clip, methods=["POST"]),
    Route("/api/clips/{clip_id}", show_clip),
    Route("/api/clips/{clip_id}", remove_clip, methods=["DELETE"]),
    Route("/api/clips/{clip_id}/media", clip_media),
    Route("/api/clips/{clip_id}/cancel", cancel_clip, methods=["POST"]),
    Route("/api/clips/{clip_id}/retry", retry_clip, methods=["POST"]),
    Route("/api/clips/{clip_id}/decision", decide_clip, methods=["POST"]),
    Route("/api/clips/{clip_id}/explain", explain_clip, methods=["POST"]),
    Route("/api/clips/{clip_id}/compare", compare_clip, methods=["POST"]),
    Route("/api/live", live, methods=["POST"]),
    Route("/api/models", show_models),
    Route("/api/health", show_health),
    Route("/api/limits", show_limits),
    Route("/export/{kind}", export),
]
