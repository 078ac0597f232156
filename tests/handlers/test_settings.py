from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from handlers.settings import HandlerSettings
from model_defs.caching.settings import CacheSettings
from model_defs.limits import Limits

CONFIG_DIR = Path(__file__).resolve().parents[2] / "config"


def test_nothing_given_means_the_defaults():
    assert HandlerSettings.from_dict(None) == HandlerSettings()


def test_the_cache_is_read_into_cache_settings():
    assert HandlerSettings.from_dict({"cache": {"max_items": 5}}).cache == CacheSettings(max_items=5)


def test_limits_are_read_into_limits():
    assert HandlerSettings.from_dict({"limits": {"max_bytes": 5}}).limits == Limits(max_bytes=5)


@pytest.mark.parametrize(
    "record",
    [
        {"batchSize": 4},
        {"decode_threads": 0},
        {"torch_threads": 1},  # a setting once, without effect on the CPU
        {"limits": {"max_byte": 5}},
        {"cache": {"size": 5}},
        {"fusion_threshold": 1.5},
    ],
)
def test_mistakes_are_named(record):
    with pytest.raises(ValueError, match=r"batchSize|threads|max_byte|size|fusion_threshold"):
        HandlerSettings.from_dict(record)


@pytest.mark.parametrize("name", ["video", "audio", "ensemble"])
def test_the_shipped_configuration_is_valid_and_outlasts_a_batch(name):
    record = yaml.safe_load((CONFIG_DIR / f"{name}.yaml").read_text())
    settings = HandlerSettings.from_dict(record["handler"])
    assert settings.decode_threads == 2
    # At worst every file of a batch uses up its decode budget, and hangs until its thread is given up.
    rounds = math.ceil(record["batchSize"] / settings.decode_threads)
    assert record["responseTimeout"] > rounds * (settings.limits.decode_budget_s + settings.decode_grace_s)
    assert settings.cache.store == "embedded"
