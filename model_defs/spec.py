"""The input that a network expects, bound to its weights.

A spec travels inside every weight file, TorchScript artifact and archive;
training, the local detector and the handlers all resolve the same record.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

AUDIO_FEATURES = (
    "mfcc",
    "linear_bands",
    "compressed_spectrum",
)  # the front ends of model_defs.preprocessing.audio_features
LABELS = ("real", "fake")  # class 0 is real, class 1 is fake; a score is always P(fake)

# Channel statistics of ImageNet-1k, the data the backbones are pretrained on.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Those of the pictures that CLIP was trained on (A. Radford et al., 2021).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VideoSpec:
    """What a video network is fed: face crops of shape (n_frames, 3, size_px, size_px).

    Attributes:
        n_frames: frames sampled evenly over the whole clip.
        size_px: side of the square face crop.
        face_margin: part of the face box's side added on each side.
        align_eyes: rotate so that the eyes lie level.
        face_detector: see model_defs.preprocessing.face_detection.DETECTORS.
        detect_size_px: long side of the copy that faces are sought on.
        detect_every: sampled frames from one detection to the next.
        max_faces: followed and scored; each beyond the first costs a forward pass.
        mean: of each colour channel, 0 to 1, subtracted.
        std: of each colour channel, divided by.
    """

    modality = "video"

    n_frames: int = 10
    size_px: int = 224
    face_margin: float = 0.3
    align_eyes: bool = True
    face_detector: str = "mtcnn"
    detect_size_px: int = 256
    detect_every: int = 3
    max_faces: int = 4
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        _require_positive(self, "n_frames", "size_px", "detect_size_px", "detect_every", "max_faces")


@dataclass(frozen=True)
class AudioSpec:
    """What an audio network is fed: feature windows of shape (n_steps, n_features).

    Attributes:
        rate_hz: samples a second that every clip is brought to.
        window_s: length of one scored window.
        max_windows: a longer clip is scored at this many windows, spread evenly.
        features: one of AUDIO_FEATURES.
        n_mfcc: with mfcc, cepstra, to which two derivatives are added.
        n_mels: with mfcc, mel bands that the cepstra are of.
        n_bands: with linear_bands, log energies of bands of equal width.
        n_fft: samples in one analysis frame: 64 ms at the defaults.
        hop_length: samples from one frame to the next: 16 ms at the defaults.
        trim_db: below the peak by this much is silence.
        level_dbfs: RMS level that every clip is brought to.
        min_speech_s: less sound than this after trimming is refused.
    """

    modality = "audio"

    rate_hz: int = 16_000
    window_s: float = 4.0
    max_windows: int = 8
    features: str = "mfcc"
    n_mfcc: int = 40
    n_mels: int = 80
    n_bands: int = 80
    n_fft: int = 1_024
    hop_length: int = 256
    trim_db: float = 40.0
    level_dbfs: float = -23.0
    min_speech_s: float = 0.2

    def __post_init__(self) -> None:
        if self.features not in AUDIO_FEATURES:
            raise ValueError(f"AudioSpec.features is {self.features!r}; allowed: {', '.join(AUDIO_FEATURES)}")
        _require_positive(self, "rate_hz", "window_s", "max_windows", "n_mfcc", "n_bands", "n_fft", "hop_length")

    @property
    def n_samples(self) -> int:
        """Samples in one window."""
        return round(self.window_s * self.rate_hz)

    @property
    def n_steps(self) -> int:
        """Feature frames in one window (centred frames, as librosa counts them)."""
        return self.n_samples // self.hop_length + 1

    @property
    def n_features(self) -> int:
        """MFCC with delta and delta-delta, bands, or real and imaginary part of each bin."""
        return {"mfcc": 3 * self.n_mfcc, "linear_bands": self.n_bands, "compressed_spectrum": self.n_fft + 2}[
            self.features
        ]


InputSpec = VideoSpec | AudioSpec
_SPECS = {spec.modality: spec for spec in (VideoSpec, AudioSpec)}


def spec_to_dict(spec: InputSpec) -> dict:
    """The spec as plain JSON values, with its modality."""
    return {"modality": spec.modality, **asdict(spec)}


def spec_from_dict(record: dict) -> InputSpec:
    """The spec that `spec_to_dict` wrote.

    Raises:
        ValueError: the modality or a field is unknown.
    """
    record = dict(record)
    modality = record.pop("modality", None)
    if modality not in _SPECS:
        raise ValueError(f"modality {modality!r} is unknown; allowed: {sorted(_SPECS)}")
    kind = _SPECS[modality]
    known = {field.name for field in fields(kind)}
    if unknown := set(record) - known:
        raise ValueError(f"{kind.__name__} has no field {sorted(unknown)}; allowed: {sorted(known)}")
    return kind(**record)


def _require_positive(spec: InputSpec, *names: str) -> None:
    for name in names:
        if getattr(spec, name) <= 0:
            raise ValueError(f"{type(spec).__name__}.{name} is {getattr(spec, name)}; it must be above 0")
