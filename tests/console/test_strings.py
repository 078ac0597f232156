"""One file has every word; nothing that the page or the server can say is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import console
from console.strings import advice_of, error_advice, strings, warning_advice
from model_defs.errors import ErrorCode

HERE = Path(console.__file__).parent
SCRIPTS = sorted((HERE / "static").glob("*.js"))


def test_every_text_that_a_script_names_is_there():
    missing = []
    for script in SCRIPTS:
        for table, name in re.findall(r"""\bt\(["'`](\w+)\.(\w+)["'`]""", script.read_text(encoding="utf-8")):
            if name not in strings()[table]:
                missing.append(f"{script.name}: {table}.{name}")
    assert missing == []


BY_NAME = (
    "theme_",
    "score_",
    "show_",
    "sort_",
    "meaning_",
    "lane_",
    "curve_",
    "split_",
    "decided_",
)  # the rest of it is a value


def test_no_text_is_left_over():
    used = "".join(path.read_text(encoding="utf-8") for path in [*SCRIPTS, *HERE.rglob("*.html"), *HERE.glob("*.py")])
    for table, texts in strings().items():
        if table not in ("warnings", "errors"):
            unused = [name for name in texts if not re.search(rf"\b{name}\b", used)]
            assert [name for name in unused if not name.startswith(BY_NAME) and not name.endswith("_kept")] == [], table


@pytest.mark.parametrize(
    "code",
    [code.value for code in ErrorCode if code not in ("bad_request", "bad_option", "unreadable_file", "internal")],
)
def test_every_refusal_that_an_upload_can_meet_has_advice_of_its_own(code):
    assert code in strings()["errors"]


def test_an_unknown_error_has_advice_as_well():
    assert error_advice("never heard of") == strings()["errors"]["other"]


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("no face was found in 10 frames; the centre of the picture was scored", "no_face"),
        ("3 of 10 frames show no face; their centre was scored", "some_faces"),
        ("the video is unlike the clips that the model was trained and measured on (anomaly score 50.7)", "ood_video"),
        ("the audio is unlike the clips that the model was trained and measured on (anomaly score 9.1)", "ood_audio"),
        ("the file is damaged: a part of it could not be read", "damaged"),
        ("the video track ends after 3.0 s of the declared 9.0 s", "shorter"),
        ("audio was not scored: the mp4 file has no audio track", "one_modality"),
        ("0.52 s of sound was repeated to fill a window of 4 s", "repeated"),
        ("2 of 3 audio windows were silent and left out", "silent"),
        ("only one frame could be sampled; nothing can be said about motion", "one_frame"),
        ("something new", "other"),
    ],
)
def test_a_warning_is_known_by_its_sentence(sentence, code):
    advice = warning_advice(sentence)
    assert (advice["code"], advice["detail"]) == (code, sentence)
    assert advice["title"]
    assert advice["advice"]


def test_a_warning_is_known_by_its_code_where_it_has_one():
    answer = {
        "warnings": ["new words for it", "the file is damaged: a part"],
        "warning_codes": ["several_faces", "never heard"],
    }
    assert [one["code"] for one in advice_of(answer)] == ["several_faces", "damaged"]
    assert [one["code"] for one in advice_of({"warnings": answer["warnings"]})] == ["other", "damaged"]


def test_every_warning_code_of_the_contract_has_advice_of_its_own():
    contract = (HERE.parent / "docs" / "request-contract.md").read_text(encoding="utf-8")
    table = contract.partition("| warning code | meaning |\n")[2].partition("\n\n")[0]
    codes = re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.splitlines()))
    errors = {code.value for code in ErrorCode}  # a modality that was not scored has the code of its error
    assert [code for code in codes if code not in strings()["warnings"] and code not in errors] == []
