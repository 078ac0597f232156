from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from model_defs.networks.registry import build_network
from training.compress.quantize_aware import freeze_batch_norm, make_aware, ranges_in
from training.exporting.quantization import calibrate, quantize_int8, set_ranges, static_part

SHAPES = {"bands_cnn_gru": (4, 40, 80), "efficientnet_lite0_early_frames": (2, 2, 3, 48, 48)}


@pytest.fixture(scope="module", params=SHAPES)
def case(request) -> tuple[nn.Module, list[Tensor]]:
    """A network whose batch norms fit its input, and some of that."""
    torch.manual_seed(0)
    net, shape = build_network(request.param).train(), SHAPES[request.param]
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(shape))
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a loss that falls is then due to the steps
    return net.eval(), [torch.randn(shape) for _ in range(2)]


def _steps(aware: nn.Module, inputs: list[Tensor], lr: float) -> list[float]:
    optimizer = torch.optim.Adam(aware.parameters(), lr=lr)
    labels, losses = torch.arange(len(inputs[0])) % 2, []
    for _ in range(4):
        loss = nn.functional.cross_entropy(aware(inputs[0])[0], labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(aware.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_the_aware_network_trains_the_network_and_it_converts_to_what_it_rounded_as(case) -> None:
    net, inputs = copy.deepcopy(case[0]), case[1]
    before = copy.deepcopy(net.state_dict())
    aware = make_aware(net, calibrate(net, inputs))
    freeze_batch_norm(aware.train())
    losses = _steps(aware, inputs, lr=1e-4)
    assert losses[-1] < losses[0]
    aware.eval(), net.eval()
    changed = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
    assert {name.rpartition(".")[2] for name in changed} <= {
        name.rpartition(".")[2] for name, _ in net.named_parameters()
    }
    assert len(changed) > len(list(net.parameters())) / 2
    set_ranges(getattr(aware, static_part(aware)), calibrate(copy.deepcopy(net), inputs))
    quantized = quantize_int8(net, ranges_in(aware))
    with torch.inference_mode():
        for batch in inputs:
            rounded, integer, exact = (one(batch)[0] for one in (aware, quantized, net))
            torch.testing.assert_close(integer, rounded, atol=0.02, rtol=0)
            assert not torch.equal(rounded, exact), "it does round"


def test_statistics_are_shared_until_they_are_frozen(case) -> None:
    net, inputs = copy.deepcopy(case[0]), case[1]
    aware = make_aware(net, calibrate(net, inputs))
    name = next(name for name, _ in net.named_buffers() if name.endswith("running_mean"))
    before = net.get_buffer(name).clone()
    with torch.no_grad():
        aware.train()(inputs[0] + 1)
    learned = net.get_buffer(name).clone()
    assert not torch.equal(learned, before)
    freeze_batch_norm(aware)
    with torch.no_grad():
        aware(inputs[0] + 2)
    assert torch.equal(net.get_buffer(name), learned)


def test_ranges_come_back_as_they_went_in(case) -> None:
    net, inputs = copy.deepcopy(case[0]), case[1]
    ranges = calibrate(net, inputs)
    found = ranges_in(make_aware(net, ranges))
    assert found.keys() == ranges.keys()
    for name, pair in ranges.items():
        torch.testing.assert_close(found[name], pair, rtol=0.01, atol=1e-4)


def test_networks_without_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="needs no calibration"):
        make_aware(build_network("mfcc_gru_light"), {})
