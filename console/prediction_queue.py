"""Files on their way to the server: a few at once, the others wait; each may be cancelled or sent again."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from console.clip import Clip, State
from console.detector import Detector, Outcome
from console.sessions import Session

logger = logging.getLogger(__name__)


class PredictionQueue:
    """Sends files in the order in which they came.

    Args:
        n_parallel: sent at once; the server batches what comes together.
    """

    def __init__(self, detector: Detector, n_parallel: int) -> None:
        self.detector = detector
        self._pool = ThreadPoolExecutor(n_parallel, "predict")

    def submit(self, session: Session, clip: Clip) -> Future[None]:
        """Has a waiting file judged when its turn comes."""
        return self._pool.submit(self._predict, session, clip)

    def cancel(self, session: Session, clip: Clip) -> bool:
        """Takes a file out of the queue, or drops the answer that is under way; whether there was one."""
        return session.move(clip, (State.WAITING, State.RUNNING), State.CANCELLED)

    def retry(self, session: Session, clip: Clip) -> bool:
        """Sends a file again that failed or was cancelled; whether it was one of those."""
        if not session.move(clip, (State.FAILED, State.CANCELLED), State.WAITING):
            return False
        self.submit(session, clip)
        return True

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _predict(self, session: Session, clip: Clip) -> None:
        if session.is_over or not session.move(clip, (State.WAITING,), State.RUNNING):
            return
        try:
            outcome = self.detector.predict(clip.path.read_bytes(), clip.name)
        except OSError as error:
            outcome = Outcome(None, {"code": "upload_lost", "message": f"the upload is gone: {error.strerror}"}, 0.0)
        except Exception:  # a file must not stay at "running" for ever
            logger.exception("a file could not be judged")
            outcome = Outcome(None, {"code": "internal", "message": "the console failed; its log says how"}, 0.0)
        clip.answer, clip.error, clip.took_s = outcome.answer, outcome.error, round(outcome.took_s, 3)
        if not session.move(clip, (State.RUNNING,), State.DONE if outcome.answer else State.FAILED):
            clip.answer = clip.error = None
