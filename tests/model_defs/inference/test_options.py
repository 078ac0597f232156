import pytest

from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.options import DetectOptions


def test_wire_strings_and_json_values_mean_the_same():
    strings = {"frames": "16", "require_face": "true", "threshold": "0.3", "weights": '{"video": 1, "audio": 0.5}'}
    values = {"frames": 16, "require_face": True, "threshold": 0.3, "weights": {"video": 1.0, "audio": 0.5}}
    assert DetectOptions.parse(strings) == DetectOptions.parse(values)


def test_without_options_the_spec_decides():
    assert DetectOptions.parse({}) == DetectOptions()


@pytest.mark.parametrize(
    ("raw", "allowed"),
    [
        ({"frame": 3}, "frames"),
        ({"frames": 0}, "from 1 to 64"),
        ({"frames": "many"}, "an integer"),
        ({"frames": 2.5}, "an integer"),
        ({"frames": True}, "an integer"),
        ({"interval_s": 0}, "above 0"),
        ({"interval_s": "nan"}, "above 0"),
        ({"threshold": 1.01}, "from 0 to 1"),
        ({"uncertain_band": 0}, "above 0 to 0.5"),
        ({"uncertain_band": 0.6}, "above 0 to 0.5"),
        ({"modality": "smell"}, "auto, video, audio"),
        ({"face_detector": "eyes"}, "mtcnn"),
        ({"require_face": "perhaps"}, "true, false"),
        ({"weights": "{"}, "an object"),
        ({"weights": {"smell": 1}}, "an object"),
        ({"weights": {"video": -1}}, "from 0"),
        ({"weights": {"video": 0}}, "not all 0"),
        ({"frames": 3, "interval_s": 1}, "together"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(raw, allowed):
    with pytest.raises(DetectionError, match=allowed) as caught:
        DetectOptions.parse(raw)
    assert caught.value.code is ErrorCode.BAD_OPTION
    assert next(iter(raw)) in caught.value.message or "together" in allowed


def test_the_cache_key_depends_on_values_not_on_order():
    one = DetectOptions.parse({"frames": 4, "weights": {"video": 1, "audio": 2}})
    same = DetectOptions.parse({"weights": {"audio": 2, "video": 1}, "frames": "4"})
    other = DetectOptions.parse({"frames": 5, "weights": {"video": 1, "audio": 2}})
    assert one.cache_key() == same.cache_key() != other.cache_key()


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (True, ("scores", "heatmap")),
        ("true", ("scores", "heatmap")),
        (False, ()),
        ("false", ()),
        ("heatmap", ("heatmap",)),
        (["heatmap", "scores"], ("scores", "heatmap")),
        ('["scores"]', ("scores",)),
        ([], ()),
    ],
)
def test_an_explanation_is_asked_for_whole_or_in_parts(value, parts):
    assert DetectOptions.parse({"explain": value}).explain == parts


@pytest.mark.parametrize(
    "value", ["everything", ["scores", "everything"], "[", 1, {"scores": True}, None, [["scores"]]]
)
def test_an_unknown_part_of_an_explanation_is_refused(value):
    with pytest.raises(DetectionError, match="allowed: true, false, or a list of scores, heatmap"):
        DetectOptions.parse({"explain": value})


def test_a_picture_without_a_face_cannot_be_both_allowed_and_refused():
    assert DetectOptions.parse({"allow_no_face": "true"}).allow_no_face
    with pytest.raises(DetectionError, match="allow_no_face"):
        DetectOptions.parse({"allow_no_face": True, "require_face": True})
