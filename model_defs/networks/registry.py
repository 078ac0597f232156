"""The networks by name; a weight file, an option and an archive all use these names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from model_defs.networks.audio import AudioNet, SpectrogramNet
from model_defs.networks.audio_svm import StatisticsNet
from model_defs.networks.audio_transformer import SpectrumTransformerNet
from model_defs.networks.backbones import create_backbone
from model_defs.networks.video import FrameScoreNet, VideoNet
from model_defs.spec import CLIP_MEAN, CLIP_STD, AudioSpec, InputSpec, VideoSpec


@dataclass(frozen=True)
class Network:
    """One entry of `NETWORKS`.

    Attributes:
        name: the key in `NETWORKS`.
        create: VideoNet or FrameScoreNet (which take a backbone first), AudioNet, SpectrogramNet, StatisticsNet or
            SpectrumTransformerNet.
        spec: the input it expects unless the training run chose another.
        backbone: one of `backbones.BACKBONES`; None for audio.
        sizes: keyword arguments of `create`.
    """

    name: str
    create: Callable[..., nn.Module]
    spec: InputSpec
    backbone: str | None = None
    sizes: dict = field(default_factory=dict)

    @property
    def modality(self) -> str:
        """`video` or `audio`."""
        return self.spec.modality

    def build(self, backbone_weights: str | Path | None = None, allow_random: bool = False) -> nn.Module:
        """A new network; see `build_network`."""
        if self.backbone is not None:
            return self.create(create_backbone(self.backbone, backbone_weights, allow_random), **self.sizes)
        if backbone_weights is not None:
            raise ValueError(f"network {self.name!r} has no image backbone to load {backbone_weights} into")
        return self.create(n_features=self.spec.n_features, **self.sizes)


_LIGHT_VIDEO = {"n_projected": 256, "n_hidden": 128, "n_layers": 1, "bidirectional": False}
_CNN_GRU = {"n_channels": (192, 256), "n_hidden": 224}
_LIGHT_AUDIO = {
    "n_channels": (128, 128),
    "n_hidden": 128,
    "n_layers": 1,
    "bidirectional": False,
    "n_classifier": (128, 32),
}
_LIGHT_BANDS = {"n_channels": (16, 32, 48), "n_hidden": 64}
_LIGHT_STATISTICS = {"n_cepstra": 32, "lags": (1, 4), "band_lags": (1, 4), "n_support_vectors": 1_024}
# 32 ms every 10 ms: vocoders leave traces between the pitch pulses, which longer frames average away.
_BANDS = AudioSpec(features="linear_bands", n_fft=512, hop_length=160)
_SPECTRUM = AudioSpec(features="compressed_spectrum", n_fft=320, hop_length=160)

# What CLIP was trained on. Three frames say as much as ten, and each is searched for its face.
_CLIP = VideoSpec(
    n_frames=3,
    size_px=160,
    face_margin=0.07,
    detect_every=1,
    mean=CLIP_MEAN,
    std=CLIP_STD,
)

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("efficientnet_b0_bilstm", VideoNet, VideoSpec(), "efficientnet_b0"),
        Network("resnet50_bilstm", VideoNet, VideoSpec(), "resnet50"),
        Network("mobilenet_v2_bilstm", VideoNet, VideoSpec(), "mobilenet_v2"),
        Network("mobilenet_v2_lstm", VideoNet, VideoSpec(), "mobilenet_v2", _LIGHT_VIDEO),
        Network("efficientnet_b0_frames", FrameScoreNet, VideoSpec(), "efficientnet_b0"),
        Network("efficientnet_lite0_frames", FrameScoreNet, VideoSpec(), "efficientnet_lite0"),
        Network("efficientnet_lite0_early_frames", FrameScoreNet, VideoSpec(), "efficientnet_lite0_early"),
        Network("clip_vit_b16_frames", FrameScoreNet, _CLIP, "clip_vit_b16"),
        Network("clip_efficientnet_b0_frames", FrameScoreNet, _CLIP, "clip_vit_b16_efficientnet_b0"),
        Network("mfcc_bigru", AudioNet, AudioSpec()),
        Network("mfcc_cnn_gru", AudioNet, AudioSpec(), sizes=_CNN_GRU),
        Network("bands_cnn_gru", SpectrogramNet, _BANDS),
        Network("bands_cnn_gru_light", SpectrogramNet, replace(_BANDS, hop_length=320), sizes=_LIGHT_BANDS),
        Network("moments_rbf_svm", StatisticsNet, _BANDS),
        Network(
            "moments_rbf_svm_light",
            StatisticsNet,
            replace(_BANDS, n_bands=48, hop_length=320),
            sizes=_LIGHT_STATISTICS,
        ),
        Network("spectrum_transformer", SpectrumTransformerNet, _SPECTRUM),
        Network("mfcc_gru_light", AudioNet, AudioSpec(), sizes=_LIGHT_AUDIO),
    )
}


def build_network(name: str, backbone_weights: str | Path | None = None, allow_random: bool = False) -> nn.Module:
    """A new network of that name, in training mode.

    Args:
        name: a key of `NETWORKS`.
        backbone_weights: None, "imagenet", or a local file; see `backbones.create_backbone`.
        allow_random: go on with a random backbone, with a warning, when its weights cannot be reached.

    Raises:
        ValueError: the name is unknown, or a backbone file is given for an audio network.
        BackboneWeightsError: the backbone's weights cannot be reached or do not fit.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; allowed: {', '.join(NETWORKS)}")
    return NETWORKS[name].build(backbone_weights, allow_random)
