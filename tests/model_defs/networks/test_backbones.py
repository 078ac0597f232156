from __future__ import annotations

import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from model_defs.networks.backbones import BACKBONES, BackboneWeightsError, create_backbone, efficientnet_lite0
from tests.conftest import PROJECT_DIR


@pytest.fixture(scope="module")
def donor() -> torch.nn.Module:
    """A complete torchvision model, classifier included."""
    torch.manual_seed(7)
    return models.mobilenet_v2(weights=None, num_classes=3).eval()


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", refuse)


@pytest.mark.parametrize("name", BACKBONES)
def test_gives_one_vector_an_image(name: str) -> None:
    backbone = create_backbone(name).eval()
    with torch.inference_mode():
        assert backbone(torch.randn(2, 3, 64, 64)).shape == (2, backbone.n_features)


@pytest.mark.parametrize("form", ["plain.pth", "wrapped.pth", "plain.safetensors"])
def test_a_local_file_gives_its_features_without_the_classifier(
    tmp_path: Path, donor: torch.nn.Module, form: str
) -> None:
    path = tmp_path / form
    if path.suffix == ".safetensors":
        save_file(donor.state_dict(), path)
    elif form.startswith("wrapped"):
        torch.save({"state_dict": {f"module.{key}": value for key, value in donor.state_dict().items()}}, path)
    else:
        torch.save(donor.state_dict(), path)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = donor.features(images).mean(dim=(2, 3))
        torch.testing.assert_close(create_backbone("mobilenet_v2", path).eval()(images), expected)


def test_lite0_takes_the_names_of_efficientnet_pytorch_too(tmp_path: Path) -> None:
    donor = efficientnet_lite0()
    names = ["_conv_stem.weight", *(f"_layer.{index}" for index in range(1, len(donor.state_dict())))]
    torch.save(dict(zip(names, donor.state_dict().values(), strict=True)), tmp_path / "lite0.pth")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = donor.eval().features(images).mean(dim=(2, 3))
        torch.testing.assert_close(
            create_backbone("efficientnet_lite0", tmp_path / "lite0.pth").eval()(images), expected
        )


def test_lite0_holds_nothing_that_int8_cannot(no_download: None) -> None:
    kinds = {type(module).__name__ for module in create_backbone("efficientnet_lite0").modules()}
    assert "ReLU6" in kinds
    assert not kinds & {"SiLU", "SqueezeExcitation", "Sigmoid"}
    with pytest.raises(BackboneWeightsError, match="no ImageNet weights"):
        create_backbone("efficientnet_lite0", "imagenet")


def test_resnet_features_are_those_of_torchvision(tmp_path: Path) -> None:
    donor = models.resnet50(weights=None).eval()
    torch.save(donor.state_dict(), tmp_path / "resnet.pth")
    donor.fc = torch.nn.Identity()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(create_backbone("resnet50", tmp_path / "resnet.pth").eval()(images), donor(images))


def test_imagenet_weights_come_from_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    donor = models.efficientnet_b0(weights=None)
    asked = []
    monkeypatch.setattr(
        models.WeightsEnum, "get_state_dict", lambda self, **_: asked.append(self) or donor.state_dict()
    )
    backbone = create_backbone("efficientnet_b0", "imagenet")
    assert asked == [models.EfficientNet_B0_Weights.IMAGENET1K_V1]
    torch.testing.assert_close(backbone.features[0][0].weight, donor.features[0][0].weight)


@pytest.mark.usefixtures("no_download")
def test_unreachable_imagenet_weights_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(BackboneWeightsError, match=r"no route to host.*local .pth.*allow random"):
        create_backbone("efficientnet_b0", "imagenet")


@pytest.mark.usefixtures("no_download")
def test_unreachable_weights_name_the_file_that_a_package_has_and_the_makefile_makes() -> None:
    makefile = (PROJECT_DIR / "Makefile").read_text(encoding="utf-8")
    for name in ("efficientnet_b0", "efficientnet_lite0", "efficientnet_lite0_early"):
        with pytest.raises(BackboneWeightsError) as error:
            create_backbone(name, "imagenet")
        (path,) = re.findall(r"`make ([^`]+)`", str(error.value))
        assert f":= {path}\n" in makefile
    with pytest.raises(BackboneWeightsError) as error:
        create_backbone("resnet50", "imagenet")
    assert "make" not in str(error.value)


@pytest.mark.usefixtures("no_download")
def test_goes_on_with_random_weights_only_if_told_to() -> None:
    with pytest.warns(UserWarning, match="random weights"):
        assert create_backbone("mobilenet_v2", "imagenet", allow_random=True).n_features == 1280


def test_an_absent_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing of the kind")
    for name in ("absent.pth", "damaged.safetensors"):
        with pytest.raises(BackboneWeightsError, match=name):
            create_backbone("mobilenet_v2", tmp_path / name)


def test_weights_of_another_network_are_refused_even_if_random_ones_were_allowed(
    tmp_path: Path, donor: torch.nn.Module
) -> None:
    torch.save(donor.state_dict(), tmp_path / "mobilenet.pth")
    with pytest.raises(BackboneWeightsError, match="do not fit"):
        create_backbone("efficientnet_b0", tmp_path / "mobilenet.pth", allow_random=True)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=", ".join(BACKBONES)):
        create_backbone("vgg16")
