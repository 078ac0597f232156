"""What the documents claim is what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from model_defs.errors import ErrorCode
from model_defs.inference.options import DetectOptions

PROJECT_DIR = Path(__file__).resolve().parent.parent
CONTRACT = (PROJECT_DIR / "docs" / "request-contract.md").read_text(encoding="utf-8")
README = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")


def test_every_error_code_is_documented_with_its_status():
    assert _documented_codes("## Refusals") == {code.value: str(code.status) for code in ErrorCode}


def test_every_refusal_of_the_proxy_is_documented_with_its_status():
    template = (PROJECT_DIR / "config" / "deploy" / "nginx.conf.template").read_text(encoding="utf-8")
    refusals = re.findall(r"return (\d{3}) '(\{.*\})\\n';", template)
    errors = [json.loads(re.sub(r"\$\{\w+\}", "1", body))["error"] for _, body in refusals]
    assert [str(error["status"]) for error in errors] == [status for status, _ in refusals]
    assert {error["code"]: str(error["status"]) for error in errors} == _documented_codes("## Behind the proxy")


def test_every_option_is_documented():
    section = CONTRACT.split("| option | values | meaning |")[1].split("## Answer")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))
    assert documented == {option.name for option in fields(DetectOptions)}


def test_every_make_target_of_the_readme_exists_and_helps():
    makefile = (PROJECT_DIR / "Makefile").read_text(encoding="utf-8")
    helped = set(re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"\bmake (?:-s )?([a-z-]+)", README))
    assert named
    assert named <= helped


def test_the_curl_of_the_readme_is_one_that_a_test_runs():
    (line,) = re.findall(r"^curl .*$", README, flags=re.MULTILINE)
    assert f"\n{line}\n" in (PROJECT_DIR / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_file_the_readme_links_exists():
    links = re.findall(r"\]\((?!http|#)([^)#]+)", README)
    assert links
    assert [link for link in links if not (PROJECT_DIR / link).exists()] == []


def _documented_codes(heading: str) -> dict[str, str]:
    """Code and status of the table below a heading of the contract."""
    section = CONTRACT.split(f"{heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", section, flags=re.MULTILINE))
