"""The answer to the sample clip, as the README shows it."""

from __future__ import annotations

import json

from training.reporting.sample_answer import shown


def test_long_members_are_left_out():
    one = {"p_fake": 0.25, "weight": 1.0, "variant": "fp32", "windows": 3, "window_p_fake": [0.25, 0.5, 0.25]}
    answer = {"prediction": "Real", "confidence": 0.75, "probabilities": {"real": 0.75, "fake": 0.25}, "threshold": 0.5}
    answer |= {"modalities": {"audio": one}, "warnings": ["a warning " * 30], "sha256": "ab"}
    text = shown(answer)
    told = json.loads(text.split("```json\n")[1].split("```")[0])
    assert told["modalities"] == {
        "audio": {"p_fake": 0.25, "weight": 1.0, "variant": "fp32", "windows": 3, "...": "..."}
    }
    assert {key: told[key] for key in ("prediction", "confidence", "threshold")} == {
        "prediction": "Real",
        "confidence": 0.75,
        "threshold": 0.5,
    }
    assert told["warnings"][0].endswith(" ...")
    assert "sha256" not in told
    assert max(map(len, text.splitlines())) <= 130
