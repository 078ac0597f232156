"""The video modality: each face over time, and the most suspicious of them as the clip's."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from model_defs.calibration import DIGITS, rounded
from model_defs.decoding.media import Frame, Media
from model_defs.errors import DetectionError, ErrorCode
from model_defs.explanation.attribution import explain_video
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor, Score
from model_defs.inference.seconds import Span, per_second
from model_defs.networks.artifact import Output
from model_defs.notes import Note
from model_defs.preprocessing.face_detection import YUNET_VARIABLE, FaceDetector, create_detector
from model_defs.preprocessing.video import FaceCrops, VideoSample, decode_video_sample, video_sample, video_tensor


class VideoPredictor(Predictor):
    """Faces over time."""

    modality = "video"
    sample_type = VideoSample

    def sampling(self, options: DetectOptions) -> dict[str, Any]:
        spec = self.artifact.spec
        by_count = None if options.interval_s else options.frames or spec.n_frames
        detector = options.face_detector or spec.face_detector
        return {
            "n_frames": by_count,
            "interval_s": options.interval_s,
            "face_detector": detector,
            "face_model": os.environ.get(YUNET_VARIABLE) if detector == "yunet" else None,
        }

    def sample(self, media: Media, options: DetectOptions) -> VideoSample:
        media.require_video()  # before weights are loaded for nothing
        sampling = self.sampling(options)
        detector = _face_detector(sampling["face_detector"])
        wanted = {name: sampling[name] for name in ("n_frames", "interval_s")}
        return decode_video_sample(media, self.artifact.spec, detector, **wanted)

    def sample_frames(self, frames: Sequence[Frame]) -> VideoSample:
        """What the network sees of frames that somebody else decoded; raises ValueError where there are none."""
        spec = self.artifact.spec
        return video_sample(frames, spec, _face_detector(spec.face_detector))

    def check(self, sample: VideoSample, options: DetectOptions) -> None:
        if not sample.n_faces and not options.allow_no_face:
            message = (
                f"no face was found in {len(sample.times_s)} frames; allow_no_face scores the middle of the picture"
            )
            raise DetectionError(ErrorCode.NO_FACE, message)

    def describe_unscored(self, sample: VideoSample) -> dict[str, Any]:
        return {"p_fake": None, "weight": 0.0, "face": "none", "frames": len(sample.times_s), "faces": 0}

    def score(self, samples: Sequence[VideoSample]) -> list[Score]:
        started = time.perf_counter()
        faces = [sample.faces() for sample in samples]
        tensors = [video_tensor(face.crops, self.artifact.spec)[None] for each in faces for face in each]
        outputs = iter(self._forward(tensors))
        forward_s = (time.perf_counter() - started) / len(samples)
        return [
            self._score(sample, each, [next(outputs) for _ in each], forward_s)
            for sample, each in zip(samples, faces, strict=True)
        ]

    def _score(
        self, sample: VideoSample, faces: Sequence[FaceCrops], outputs: Sequence[Output], forward_s: float
    ) -> Score:
        p_fakes = [self._pooled(output.logits, output.segment_logits) for output in outputs]
        chosen = int(np.argmax(p_fakes))
        face, output = faces[chosen], outputs[chosen]
        anomaly, doubts, trust = self._anomaly(output.distances)
        frame_p_fake = self._of_frames(output)
        n_frames = len(sample.times_s)
        details = {
            "face": "found" if sample.n_faces else "none",
            "frames": n_frames,
            "faces": len(face.frames) if sample.n_faces else 0,
            "faces_seen": sample.n_seen,
            "track": chosen,
            "tracks": [
                self._describe(index, sample, one, p_fake)
                for index, (one, p_fake) in enumerate(zip(faces, p_fakes, strict=True))
            ],
            "picture_px": list(sample.frame_px),
            "crops": _spread(face.frames, face.sources, n_frames, "none"),
            "boxes": _spread(face.frames, [box and list(box) for box in face.boxes], n_frames, None),
            "frame_times_s": [round(float(time_s), 3) for time_s in sample.times_s],
            "frame_p_fake": _spread(face.frames, frame_p_fake, n_frames, None),
            "attention": _spread(face.frames, rounded(output.attention[0]), n_frames, 0.0),
            "scores": self._seconds(sample, face, frame_p_fake, p_fakes[chosen]),
            **anomaly,
        }
        timings_s = {"faces": sample.faces_s, "forward": forward_s}
        return Score(p_fakes[chosen], details, (*_notes(sample, face, chosen, faces), *doubts), timings_s, trust)

    def _of_frames(self, output: Output) -> list[float | None]:
        """P(fake) of each frame by itself; None where the variant does not tell."""
        if output.segment_logits is None:
            return [None] * output.attention.shape[1]
        return rounded(self.calibration.p_fake(output.segment_logits))

    def _seconds(
        self, sample: VideoSample, face: FaceCrops, frame_p_fake: Sequence[float | None], p_fake: float
    ) -> list[dict[str, float]]:
        half_s = min(sample.spacing_s, 1.0) / 2
        spans = [
            Span(
                max(0.0, sample.times_s[index] - half_s), sample.times_s[index] + half_s, p_fake if own is None else own
            )
            for index, own in zip(face.frames, frame_p_fake, strict=True)
        ]
        return per_second(spans)

    def _describe(self, index: int, sample: VideoSample, face: FaceCrops, p_fake: float) -> dict[str, Any]:
        boxes = [box for box in face.boxes if box is not None]
        return {
            "track": index,
            "p_fake": round(p_fake, DIGITS),
            "frames": len(face.frames),
            "start_s": round(float(sample.times_s[face.frames[0]]), 3),
            "end_s": round(float(sample.times_s[face.frames[-1]]), 3),
            "box": np.median(boxes, axis=0).round().astype(int).tolist() if boxes else None,
        }

    def _explain(self, sample: VideoSample, parts: tuple[str, ...]) -> dict[str, Any]:
        faces = sample.faces()
        chosen = 0
        if len(faces) > 1:
            outputs = self._forward([video_tensor(face.crops, self.artifact.spec)[None] for face in faces])
            chosen = int(np.argmax([self._pooled(output.logits, output.segment_logits) for output in outputs]))
        face = faces[chosen]
        shown = replace(
            sample,
            crops=face.crops,
            times_s=[sample.times_s[index] for index in face.frames],
            sources=face.sources,
            boxes=face.boxes,
        )
        return explain_video(self.fp32, shown, self.calibration, parts)

    def warm_up(self) -> None:
        spec = self.artifact.spec
        crops = np.zeros((spec.n_frames, spec.size_px, spec.size_px, 3), np.uint8)
        detector = _face_detector(spec.face_detector)
        detector.detect(np.zeros((spec.detect_size_px, spec.detect_size_px, 3), np.uint8))
        for _ in range(3):  # TorchScript's profiling executor specialises on the first passes
            self._forward([video_tensor(crops, spec)[None]])


def _spread(frames: Sequence[int], values: Sequence[Any], n_frames: int, absent: Any) -> list[Any]:
    """One value for each sampled frame, `absent` for those that do not show the face."""
    spread = [absent] * n_frames
    for index, value in zip(frames, values, strict=True):
        spread[index] = value
    return spread


def _notes(sample: VideoSample, face: FaceCrops, chosen: int, faces: Sequence[FaceCrops]) -> list[Note]:
    notes, n_frames = [], len(sample.times_s)
    if not sample.n_faces:
        message = f"no face was found in {n_frames} frames; the centre of the picture was scored"
        notes.append(Note("no_face", message))
    elif len(face.frames) < n_frames:
        absent = n_frames - len(face.frames)
        notes.append(Note("some_faces", f"{absent} of {n_frames} frames do not show the face and were not scored"))
    if sample.n_seen > 1:
        left = f"; {sample.n_seen - len(faces)} more were not scored" if sample.n_seen > len(faces) else ""
        message = f"{sample.n_seen} faces were seen: the verdict is of the most suspicious, track {chosen}{left}"
        notes.append(Note("several_faces", message))
    if n_frames == 1:
        notes.append(Note("one_frame", "only one frame could be sampled; nothing can be said about motion"))
    return notes


@cache
def _face_detector(name: str) -> FaceDetector:
    return create_detector(name)
