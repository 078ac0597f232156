import json

import pytest

from model_defs.spec import AudioSpec, VideoSpec, spec_from_dict, spec_to_dict


@pytest.mark.parametrize(
    "spec",
    [VideoSpec(n_frames=16, mean=(0.5, 0.5, 0.5)), AudioSpec(hop_length=160), AudioSpec(features="linear_bands")],
)
def test_a_spec_survives_json(spec):
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec


def test_lengths_follow_from_rates():
    spec = AudioSpec(rate_hz=16_000, window_s=4.0, hop_length=160, n_mfcc=40)
    assert (spec.n_samples, spec.n_steps, spec.n_features) == (64_000, 401, 120)
    assert AudioSpec(features="linear_bands", n_bands=64).n_features == 64


def test_a_record_from_before_there_was_a_choice_of_features_means_mfcc():
    record = {name: value for name, value in spec_to_dict(AudioSpec()).items() if name not in ("features", "n_bands")}
    assert spec_from_dict(record) == AudioSpec(features="mfcc")


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"modality": "smell"}, "smell"),
        ({}, "modality"),
        ({"modality": "video", "n_frame": 3}, "n_frame"),
        ({"modality": "audio", "hop_length": 0}, "hop_length"),
        ({"modality": "audio", "features": "lfcc"}, "allowed: mfcc, linear_bands"),
    ],
)
def test_a_wrong_record_is_named(record, named):
    with pytest.raises(ValueError, match=named):
        spec_from_dict(record)
