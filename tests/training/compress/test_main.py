"""Every command on tiny clips: what it leaves loads, and says what was done."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import load_weights
from model_defs.spec import VideoSpec, spec_from_dict, spec_to_dict
from training.compress import comparison
from training.compress.__main__ import EXAMPLES, main, parser
from training.evaluation.calibration import NoBetterThanChanceError
from training.exporting.publication import RANGES_SUFFIX, publish
from training.exporting.quantization import calibrate, load_observer_state
from training.run.config import saved_data
from training.run.options import PRESETS_DIR

pytestmark = pytest.mark.usefixtures("few_resamples")
SPEC = replace(NETWORKS["bands_cnn_gru"].spec, hop_length=2048)
TINY = ["--workers", "0", "--device", "cpu", "--batch-size", "4", "--repeats", "2", "--no-tensorboard"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A network that has learned nothing, its batch norms fit for noise; there are no settings beside it."""
    return _checkpoint(tmp_path_factory.mktemp("start") / "model.pt", "bands_cnn_gru", SPEC, (4, SPEC.n_steps, 80))


def _checkpoint(path: Path, network: str, spec, shape: tuple[int, ...]) -> Path:
    torch.manual_seed(0)
    net = build_network(network).train()
    with torch.no_grad():
        for _ in range(12):
            net(torch.randn(shape))
    torch.save({"network": network, "spec": spec_to_dict(spec), "labels": [], "state": net.state_dict()}, path)
    return path


@pytest.fixture
def run(checkpoint, audio_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "N_RESAMPLES", 20)

    def call(name: str, *more: str, path: Path = checkpoint, dataset: Path = audio_dataset) -> tuple[Path, dict]:
        output = tmp_path / name
        arguments = [name, str(path), "--dataset", str(dataset), "--output", str(output), *TINY]
        main([*arguments, "--cache", str(tmp_path / "cache"), *more])
        return output, json.loads((output / "comparison.json").read_text())

    return call


def _names(report: dict) -> list[str]:
    return [row["name"] for row in report["rows"]]


def test_static_leaves_the_weights_and_their_ranges(run, checkpoint, capsys):
    output, report = run("static")
    assert _names(report) == ["fp32", "int8, dynamic", "int8, static"]
    sizes = [row["size_bytes"] for row in report["rows"]]
    assert sizes[0] > sizes[1] > sizes[2]
    assert report["rows"][0]["agreement"] == 1.0
    assert report["measured_on"]["torch_threads"] == 1
    net, _ = load_weights(output / "model.pt")
    assert all(
        torch.equal(value, load_weights(checkpoint)[0].state_dict()[key]) for key, value in net.state_dict().items()
    )
    ranges = load_observer_state(output / f"model{RANGES_SUFFIX}")
    assert ranges.keys() == calibrate(net, [torch.randn(2, SPEC.n_steps, 80)]).keys()
    assert (output / "comparison.md").read_text() == comparison.markdown([_row(row) for row in report["rows"]])
    assert "int8, static" in capsys.readouterr().out


def _row(record: dict) -> comparison.Row:
    estimates = {name: comparison.Estimate(**record[name]) for name in ("auc", "eer", "auc_change")}
    return comparison.Row(**{**record, **estimates})


def test_dynamic_rounds_linear_and_recurrent_layers(run):
    output, report = run("dynamic")
    assert _names(report) == ["fp32", "int8, dynamic"]
    assert not (output / f"model{RANGES_SUFFIX}").exists()


def test_quantization_aware_training_leaves_weights_that_publishing_converts_with_its_ranges(
    run, audio_dataset, tmp_path
):
    output, report = run("qat", "--epochs", "2", "--free-epochs", "1", "--lr", "1e-3", "--ema-decay", "0.9")
    assert _names(report) == ["fp32", "int8, calibrated", "fp32 of the aware weights", "int8, aware"]
    path, weights = output / "model.pt", tmp_path / "weights"
    assert spec_from_dict(load_weights(path)[1]["spec"]) == SPEC
    assert saved_data(path).format == "auto"
    ranges = load_observer_state(output / f"model{RANGES_SUFFIX}")
    try:
        publish(path, audio_dataset, weights, cache_dir=tmp_path / "cache")
    except NoBetterThanChanceError:  # so little was learned; then the opposite is better than chance
        record = torch.load(path, weights_only=True)
        for name in ("classifier.3.weight", "classifier.3.bias"):
            record["state"][name] *= -1
        torch.save(record, path)
        publish(path, audio_dataset, weights, cache_dir=tmp_path / "cache")
    published = load_observer_state(weights / "quantization.safetensors")
    assert published.keys() == ranges.keys()
    assert all(torch.equal(published[name], pair) for name, pair in ranges.items())


def test_pruning_leaves_exactly_the_share_through_fine_tuning(run):
    output, report = run("prune", "--amount", "0.6", "--epochs", "1", "--lr", "1e-3")
    assert len(report["rows"]) == 5
    assert [round(row["zeros"], 3) for row in report["rows"][1:4]] == [0.6, 0.6, 0.6]
    assert comparison.share_of_zeros(load_weights(output / "model.pt")[0]) == pytest.approx(0.6, abs=1e-3)
    before, after = report["rows"][0], report["rows"][3]
    assert after["size_bytes"] < 0.7 * before["size_bytes"]
    assert after["inflated_bytes"] == pytest.approx(before["inflated_bytes"], rel=0.01)
    assert report["training"][-4:] == ["--epochs", "1", "--lr", "1e-3"]


def test_recalibration_changes_statistics_alone(run, checkpoint):
    output, report = run("recalibrate")
    assert _names(report) == ["before", "recalibrated"]
    before, after = (load_weights(path)[0].state_dict() for path in (checkpoint, output / "model.pt"))
    changed = {name.rpartition(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}


def test_distillation_trains_a_student_of_another_front_end_and_one_alone(run):
    student = ["--student", "bands_cnn_gru_light", "--hop-length", "4096", "--epochs", "1", "--augmented-copies", "1"]
    output, report = run("distill", *student)
    assert _names(report) == ["teacher", "distilled", "distilled, int8", "alone"]
    for name in ("model.pt", "alone.pt"):
        _, record = load_weights(output / name)
        assert (record["network"], record["spec"]["hop_length"]) == ("bands_cnn_gru_light", 4096)
    again, _ = run("recalibrate", path=output / "model.pt")  # with the settings beside it
    assert load_weights(again / "model.pt")[1]["network"] == "bands_cnn_gru_light"


def test_video_students_may_see_less(run, video_dataset, tmp_path):
    spec = VideoSpec(n_frames=2, size_px=64, face_detector="haar", face_margin=0.05)
    path = _checkpoint(tmp_path / "video.pt", "efficientnet_lite0_early_frames", spec, (2, 2, 3, 64, 64))
    same = ["--n-frames", "2", "--face-detector", "haar", "--train-frames", "1", "--backbone-weights", "none"]
    options = [
        "--student",
        "video-light",
        "--size-px",
        "32",
        "--epochs",
        "1",
        "--no-alone",
        "--from-teacher",
    ]
    output, report = run("distill", *options, *same, path=path, dataset=video_dataset)
    assert _names(report) == ["teacher", "distilled", "distilled, int8"]
    assert load_weights(output / "model.pt")[1]["spec"]["size_px"] == 32

    several = ["--teachers", str(output / "model.pt"), "--init", str(path)]  # each sees crops of its own size
    options = ["--student", "video-light", "--size-px", "64", "--epochs", "1", "--no-alone"]
    output, report = run("distill", *options, *several, *same, path=path, dataset=video_dataset)
    assert _names(report) == ["teacher", "teacher 2", "distilled", "distilled, int8"]
    other = [*options[:4], "--network", "efficientnet_lite0_frames", "--init", str(path)]
    with pytest.raises(SystemExit, match="the student is a efficientnet_lite0_frames"):
        run("distill", *other, *same, path=path, dataset=video_dataset)


def test_fitted_networks_are_rounded_but_not_tuned(audio_dataset, tmp_path, few_resamples):
    path = _checkpoint(tmp_path / "fitted.pt", "moments_rbf_svm", SPEC, (4, SPEC.n_steps, 80))
    common = [str(path), "--dataset", str(audio_dataset), "--cache", str(tmp_path / "cache")]
    output = main(["static", *common, "--output", str(tmp_path / "static"), "--repeats", "2", "--workers", "0"])
    assert _names(json.loads((output / "comparison.json").read_text())) == ["fp32", "int8, dynamic"], "no convolutions"
    with pytest.raises(SystemExit, match=r"made by training\.fit_audio"):
        main(["prune", *common])


def test_students_of_a_kernel_machine_are_fitted_at_once(audio_dataset, tmp_path, few_resamples):
    path = _checkpoint(tmp_path / "teacher.pt", "moments_rbf_svm", SPEC, (4, SPEC.n_steps, 80))
    output = tmp_path / "distill"
    common = ["distill", str(path), "--student", "audio-light", "--dataset", str(audio_dataset)]
    small = ["--n-damaged", "0", "--workers", "0", "--repeats", "2", "--cache", str(tmp_path / "cache")]
    main([*common, *small, "--output", str(output)])
    report = json.loads((output / "comparison.json").read_text())
    assert _names(report) == ["teacher", "distilled", "distilled, int8", "alone"]
    taught, alone = (load_weights(output / name) for name in ("model.pt", "alone.pt"))
    assert taught[1]["network"] == alone[1]["network"] == "moments_rbf_svm_light"
    assert not torch.equal(taught[0].classifier.dual_coefficients, alone[0].classifier.dual_coefficients)
    with pytest.raises(SystemExit, match="starts from nothing"):
        main([*common, *small, "--from-teacher"])


def test_mistakes_are_told_in_a_line(run, tmp_path):
    cases = [
        (["prune", "--amount", "1.5"], "pruning_amount is 1.5"),
        (["qat", "--free-epochs", "-1"], "must not be negative"),
        (["distill", "--student", "nobody"], "no preset 'nobody'"),
        (["distill", "--student", "bands_cnn_gru_light", "--weight", "2"], "must lie in"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit, match=message):
            run(*arguments)
    with pytest.raises(SystemExit, match=r"nothing\.pt is not there"):
        run("dynamic", path=tmp_path / "nothing.pt")


def test_page_lists_every_command():
    table = (PRESETS_DIR.parents[1] / "docs" / "compression.md").read_text(encoding="utf-8").split("| command |")[1]
    assert set(re.findall(r"^\| `(\w+)` \|", table.split("\n\n")[0], flags=re.MULTILINE)) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_teaches(name, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args([name, "--help"])
    text = capsys.readouterr().out
    assert f"training.compress {name} " in text
    assert "comparison.json" in text
