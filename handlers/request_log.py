"""One line of JSON in the model log for each file of a request, found by the request id that the caller was given.

The line holds nothing of the caller's but numbers, and is plain ASCII without control characters: TorchServe reads a
worker's output line by line, and takes some of the lines for metrics.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from handlers.exchange import Exchange
from handlers.request import Outcome
from model_defs.errors import DetectionError, ErrorCode

SHA256_DIGITS = 12  # enough to find a file again
MAX_MESSAGE_CHARS = 300

logger = logging.getLogger(__name__)


def log_exchange(exchange: Exchange, model: str, version: str, duration_s: float) -> None:
    """Writes the lines of one request; docs/serving/observe.md explains the fields."""
    for line in lines(exchange, model, version, duration_s):
        logger.info(line)


def lines(exchange: Exchange, model: str, version: str, duration_s: float) -> Iterator[str]:
    """The lines of one request, one a file."""
    request = {
        "event": "request",
        "request_id": exchange.request_id,
        "model": model,
        "version": version,
        "transport": exchange.transport,
        "status": exchange.status,
        "seconds": round(duration_s, 4),
        "files": len(exchange.outcomes),
    }
    if exchange.caller_request_id:
        request["caller_request_id"] = exchange.caller_request_id
    for index, (outcome, size_bytes) in enumerate(zip(exchange.outcomes, exchange.sizes_bytes, strict=True)):
        yield json.dumps({**request, "file": index, "bytes": size_bytes, **_describe(outcome)})


def _describe(outcome: Outcome) -> Mapping[str, Any]:
    if isinstance(outcome, DetectionError):
        if outcome.code is ErrorCode.INTERNAL:  # a fault of ours, and what there is to find it by
            message = "".join(char if char.isprintable() else " " for char in outcome.message[:MAX_MESSAGE_CHARS])
            return {"code": outcome.code.value, "message": message}
        return {"code": outcome.code.value}
    return {
        "prediction": outcome["prediction"],
        "p_fake": outcome["probabilities"]["fake"],
        "file_type": outcome["file_type"],
        "cache": outcome["cache"],
        "sha256": outcome["sha256"][:SHA256_DIGITS],
    }
