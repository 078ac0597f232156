"""One file, opened at most once, becomes what each network sees of it; what is remembered is not decoded again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model_defs.caching.detection_cache import DetectionCache, cache_key
from model_defs.caching.sample_codec import TrackSample, pack, unpack
from model_defs.decoding.media import Media
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor
from model_defs.limits import Limits
from model_defs.notes import Note
from model_defs.preprocessing.digest import preprocessing_digest
from model_defs.spec import spec_to_dict

# Refusals that lie in the file alone. Not `undecodable_media`: any fault while decoding looks like it.
LASTING = frozenset(
    {
        ErrorCode.NO_VIDEO_TRACK,
        ErrorCode.NO_AUDIO_TRACK,
        ErrorCode.UNSUPPORTED_CODEC,
        ErrorCode.ENCRYPTED_MEDIA,
        ErrorCode.SILENT_AUDIO,
        ErrorCode.NO_FACE,
    }
)
# Limits that do not change what a file gives: it is held to the first before, and the second may be met next time.
NOT_OF_THE_SAMPLE = ("max_bytes", "decode_budget_s")


@dataclass
class FileTracks:
    """What there is of one file.

    Attributes:
        file_type: `video` or `audio`.
        decode_s: wall seconds of demuxing and decoding, 0 where nothing was decoded.
        samples: modality -> what its network sees.
        refusals: modality -> why there is no sample, or later no score.
        unscored: modality -> what the answer says of a sample that was refused.
        warnings: what was wrong with the file and was lived with.
        remembered: modalities that were not decoded for this.
    """

    file_type: str = "audio"
    decode_s: float = 0.0
    samples: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, DetectionError] = field(default_factory=dict)
    unscored: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[Note] = field(default_factory=list)
    remembered: frozenset[str] = frozenset()

    @property
    def was_decoded(self) -> bool:
        return not self.samples.keys() | self.refusals.keys() <= self.remembered

    @property
    def may_keep(self) -> bool:
        """Whether the file will give the same another time: no refusal is one that may pass."""
        return all(refusal.code in LASTING for refusal in self.refusals.values())

    def add(self, predictor: Predictor, track: TrackSample, options: DetectOptions) -> None:
        self.file_type = track.file_type
        self.warnings += [warning for warning in track.warnings if warning not in self.warnings]
        try:
            if track.refusal is not None:
                raise track.refusal
            predictor.check(track.sample, options)
            self.samples[predictor.modality] = track.sample
        except DetectionError as refusal:
            self.refusals[predictor.modality] = refusal
            if track.sample is not None:
                self.unscored[predictor.modality] = predictor.describe_unscored(track.sample)


def read_tracks(
    data: bytes | Path,
    sha256: str,
    predictors: Mapping[str, Predictor],
    options: DetectOptions,
    limits: Limits,
    cache: DetectionCache | None = None,
) -> FileTracks:
    """The samples of one file.

    Args:
        data: the file's bytes, or its path.
        sha256: of its content, in hex.
        predictors: those that want a sample of it, by modality.
        cache: where samples may be remembered.

    Raises:
        DetectionError: the file as a whole is refused, or an option is.
        ModelLoadError: a model that is needed cannot be loaded.
    """
    known = {} if cache is None else _remembered(sha256, predictors, options, limits, cache)
    decoded, decode_s = {}, 0.0
    if missing := [predictor for modality, predictor in predictors.items() if modality not in known]:
        with Media(data, limits) as media:
            of_the_file = media.take_warnings()
            for predictor in missing:
                decoded[predictor.modality] = _decode(media, predictor, options, of_the_file)
            decode_s = media.decode_s
    tracks = FileTracks(decode_s=decode_s, remembered=frozenset(known))
    for modality, predictor in predictors.items():
        track = known.get(modality) or decoded[modality]
        tracks.add(predictor, track, options)
        may_keep = track.refusal is None or track.refusal.code in LASTING
        if cache is not None and modality in decoded and may_keep and predictor.loaded:
            cache.put_sample(_sample_key(sha256, predictor, options, limits), pack(track))
    return tracks


def _decode(media: Media, predictor: Predictor, options: DetectOptions, of_the_file: list[Note]) -> TrackSample:
    sample = refusal = None
    try:
        sample = predictor.sample(media, options)
    except DetectionError as error:
        if error.code is ErrorCode.BAD_OPTION:  # the request is wrong, whatever its other track may give
            raise
        refusal = error
    file_type = "audio" if media.video is None else "video"
    return TrackSample(file_type, (*of_the_file, *media.take_warnings()), sample, refusal)


def _remembered(
    sha256: str, predictors: Mapping[str, Predictor], options: DetectOptions, limits: Limits, cache: DetectionCache
) -> dict[str, TrackSample]:
    found = {}
    for modality, predictor in predictors.items():
        if not predictor.loaded:  # nor are weights loaded only to ask
            continue
        packed = cache.get_sample(_sample_key(sha256, predictor, options, limits))
        if packed is not None and (track := unpack(packed, predictor.sample_type)):
            found[modality] = track
    return found


def _sample_key(sha256: str, predictor: Predictor, options: DetectOptions, limits: Limits) -> str:
    """Of everything that the sample depends on; the model's version, weights and variant are not among it."""
    held_to = {name: value for name, value in asdict(limits).items() if name not in NOT_OF_THE_SAMPLE}
    code = preprocessing_digest()
    return cache_key(
        "sample", sha256, spec_to_dict(predictor.artifact.spec), predictor.sampling(options), held_to, code
    )
