"""`deepdetect watch`: the options, and where events go."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

WEBHOOK_TIMEOUT_S = 5.0
DESCRIPTION = """\
Watch a stream: a score of picture and sound each second, smoothed, with an alarm when it turns to fake and an all-clear
when it turns back. See docs/live.md for the filter, and for what its rate of false alarms is worth.
"""
EPILOG = """\
SOURCE  what libav opens: rtsp://, rtmp://, srt://, tcp://, udp://, an HLS address, a file, `-` for standard input,
        or a device: /dev/video0 (--format v4l2), hw:0 (alsa), :0.0 (x11grab), 0:0 (avfoundation), video=NAME (dshow)

examples:
  deepdetect watch rtsp://127.0.0.1:8554/camera
  deepdetect watch /dev/video0 --format v4l2 --input-option video_size=1280x720 --json
  deepdetect watch recording.ts --follow --webhook http://127.0.0.1:9000/alarms
  ffmpeg -i ... -f mpegts - | deepdetect watch -

exit status: 0 the stream ended without an alarm standing, 1 with one, 2 it could not be opened
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `deepdetect watch`, but for those that choose models."""
    parser.add_argument("source", metavar="SOURCE", help="what to watch: see below")
    parser.add_argument("--format", help="libav's name of the input, for devices (default: found by itself)")
    parser.add_argument(
        "--input-option", action="append", default=[], metavar="NAME=VALUE", help="of libav, repeatable"
    )
    parser.add_argument("--follow", action="store_true", help="a file that is still being written: wait for more")
    parser.add_argument(
        "--give-up-s", type=float, default=60.0, metavar="S", help="away for so long: end (default: 60)"
    )
    parser.add_argument("--backlog-s", type=int, default=3, metavar="S", help="seconds kept waiting (default: 3)")
    parser.add_argument("--frames-a-second", type=int, default=3, metavar="N", help="pictures scored (default: 3)")
    parser.add_argument(
        "--false-alarms-an-hour",
        type=float,
        default=0.1,
        metavar="R",
        help="sets the filter's threshold (default: 0.1)",
    )
    parser.add_argument("--seconds", type=int, metavar="N", help="end after N seconds of the stream")
    parser.add_argument("--json", action="store_true", help="print every event as one JSON object a line")
    parser.add_argument("--webhook", metavar="URL", help="POST alarms and all-clears there, as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    from deepdetect.live.cusum import CusumConfig
    from deepdetect.live.source import LiveSource, SourceConfig, SourceError
    from deepdetect.live.watch import SecondScorer, watch

    try:
        scorer = SecondScorer(*_predictors(args))
        source = LiveSource(
            args.source,
            SourceConfig(
                frames_a_second=args.frames_a_second,
                rate_hz=scorer.audio_spec.rate_hz,
                backlog_s=args.backlog_s,
                give_up_s=args.give_up_s,
                format=args.format,
                options=_pairs(args.input_option),
                follow=args.follow,
            ),
        )
        events = watch(islice(source.seconds(), args.seconds), scorer, CusumConfig(args.false_alarms_an_hour))
        alarmed = False
        for found in events:
            event = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **found}
            print(json.dumps(event) if args.json else _line(event), flush=True)
            if args.webhook and event["event"] in ("alarm", "all_clear"):
                _post(args.webhook, {"source": args.source, **event})
            alarmed = event.get("alarmed", alarmed)
    except (SourceError, ValueError) as error:
        print(f"deepdetect watch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return int(alarmed)


def _predictors(args: argparse.Namespace) -> tuple[Any, Any]:
    from deepdetect.detector import DeepfakeDetector

    detector = DeepfakeDetector(args.video_model, args.audio_model, args.device, args.quantization, use_cache=False)
    predictors = detector.predictors["video"], detector.predictors["audio"]
    for predictor in predictors:
        predictor.warm_up()
    return predictors


def _line(event: Mapping[str, Any]) -> str:
    """An event for a terminal."""
    clock = event["time"][11:19]
    match event["event"]:
        case "score":
            video, audio = (_number(event[part]) for part in ("video", "audio"))
            state = "ALARM" if event["alarmed"] else ""
            filled = "#" * round(20 * (event["p_fake"] or 0))
            return (
                f"{clock}  picture {video}  sound {audio}  |{filled:20}| {_number(event['p_fake'])}  {state}".rstrip()
            )
        case "alarm":
            return f"{clock}  ALARM: the stream has turned to fake (second {event['second']})"
        case "all_clear":
            return f"{clock}  all clear: the stream has turned back to real (second {event['second']})"
        case "dropped":
            return f"{clock}  {event['seconds']} s were dropped: scoring is slower than the stream"
        case "reconnected":
            return f"{clock}  reconnected ({event['reconnections']})"
    return f"{clock}  end after {event['seconds']} s"


def _number(p_fake: float | None) -> str:
    return "  -  " if p_fake is None else f"{p_fake:.3f}"


def _pairs(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    if wrong := [name for name, sign, _ in pairs if not sign]:
        raise ValueError(f"--input-option {wrong[0]}: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _post(url: str, event: Mapping[str, Any]) -> None:
    """Tells the webhook; one that does not answer is said on stderr, and the watch goes on."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(event).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):
            pass
    except (urllib.error.URLError, OSError) as error:
        print(f"deepdetect watch: {url}: {error}", file=sys.stderr)
