"""What the documents claim is what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from model_defs.errors import ErrorCode
from model_defs.inference.options import DetectOptions

PROJECT_DIR = Path(__file__).resolve().parent.parent
CONTRACT = (PROJECT_DIR / "docs" / "request-contract.md").read_text(encoding="utf-8")
README = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
PAGES = [
    path.relative_to(PROJECT_DIR)
    for pattern in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "weights/*/MODEL_CARD.md")
    for path in sorted(PROJECT_DIR.glob(pattern))
]


def test_every_error_code_is_documented_with_its_status():
    assert _documented_codes("## Errors") == {code.value: str(code.status) for code in ErrorCode}


def test_every_refusal_of_the_proxy_is_documented_with_its_status():
    template = (PROJECT_DIR / "config" / "deploy" / "nginx.conf.template").read_text(encoding="utf-8")
    refusals = re.findall(r"return (\d{3}) '(\{.*\})\\n';", template)
    told = [
        (status, json.loads(re.sub(r"\$\{\w+\}", "1", body))["error"]) for status, body in refusals if status != "200"
    ]
    errors = [error for status, error in told if isinstance(error, dict)]
    assert [str(error["status"]) for error in errors] == [status for status, error in told if isinstance(error, dict)]
    strings = [f"{error['code']}: {error['message']}" for error in errors]
    assert [error for _, error in told if isinstance(error, str)] == strings  # by the paths of v2
    assert {error["code"]: str(error["status"]) for error in errors} == _documented_codes("## Behind the proxy")


def test_every_option_is_documented():
    section = CONTRACT.split("| option | values | meaning |")[1].split("## Answer")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))
    assert documented == {option.name for option in fields(DetectOptions)}


def test_every_preset_is_documented():
    page = _text(Path("docs/training.md"))
    table = page.split("| preset | script | what it trains |")[1].split("\n\n")[0]
    documented = {
        name
        for cell in re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", cell)
    }
    assert documented == {path.stem for path in (PROJECT_DIR / "config" / "training").glob("*.yaml")}


def test_the_readme_is_one_screen_and_a_half():
    assert len(README.split()) <= 1_200
    assert len(README.splitlines()) <= 160


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_make_target_that_a_page_names_exists_and_helps(page):
    makefile = (PROJECT_DIR / "Makefile").read_text(encoding="utf-8")
    helped = set(re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"[`\n]make (?:-s )?([a-z-]+)", _text(page))) <= helped


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=str)
def test_every_module_that_a_page_names_exists(page):
    named = set(
        re.findall(r"python -m ((?:training|loadtest|operations|client|samples|archives|tests)[\w.]*)", _text(page))
    )
    assert [name for name in sorted(named - {"training.NAME"}) if not _is_module(name.rstrip("."))] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", _without_code(_text(page)))
    for target, anchor in links:
        path = (PROJECT_DIR / page).parent / target if target else PROJECT_DIR / page
        assert path.exists(), target
        if anchor:
            assert anchor in _anchors(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_the_curl_of_the_readme_is_one_that_a_test_runs():
    (line,) = re.findall(r"^curl .*$", README, flags=re.MULTILINE)
    assert f"\n{line}\n" in (PROJECT_DIR / "docs" / "serving" / "secure.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(sample_clip, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT_DIR)
    (block,) = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert re.fullmatch(r"(Real|Fake) \d+\.\d\d%\n", capsys.readouterr().out)


def test_the_answer_of_the_readme_is_that_of_the_sample(detector, sample_clip):
    (block,) = re.findall(r"^```json\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    answer = detector.detect(sample_clip)
    told = json.loads(block)
    assert told["prediction"] == answer["prediction"]
    assert {name: one["p_fake"] for name, one in told["modalities"].items()} == pytest.approx(
        {name: one["p_fake"] for name, one in answer["modalities"].items()}, abs=0.001
    )


def _text(page: Path) -> str:
    return (PROJECT_DIR / page).read_text(encoding="utf-8")


def _is_module(name: str) -> bool:
    path = PROJECT_DIR.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(text: str) -> set[str]:
    """Of the headings of a page, as GitHub makes them; the site makes the same."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _documented_codes(heading: str) -> dict[str, str]:
    """Code and status of the table below a heading of the contract."""
    section = CONTRACT.split(f"{heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", section, flags=re.MULTILINE))
