"""What the tuner writes: model configurations, its record, its page."""

from __future__ import annotations

import re

import pytest
import yaml

from loadtest.measure.results import Machine
from loadtest.tuning import __main__ as tune
from loadtest.tuning.model_config import rewritten
from loadtest.tuning.page import headline, lines, tuning_page
from loadtest.tuning.pareto import Point
from loadtest.tuning.record import Record
from loadtest.tuning.search import Search
from loadtest.tuning.space import Setting, Space
from operations.settings import PROJECT_DIR
from tests.loadtest.tuning.surface import Surface

SETTING = Setting(workers=2, batch_size=8, delay_ms=20, decode_threads=4)
MACHINE = Machine("2 cores", 7.8, "", {"torch": "2.8.0"}, "2026-11-24", {"video": "ab" * 32})


@pytest.mark.parametrize("model", tune.MODELS)
def test_a_configuration_is_changed_where_it_must_and_nowhere_else(model):
    text = (PROJECT_DIR / "config" / f"{model}.yaml").read_text()
    changed = rewritten(text, SETTING)
    before, after = yaml.safe_load(text), yaml.safe_load(changed)
    assert Setting.of(after) == SETTING
    for record in (before, after):
        for key in ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay"):
            del record[key]
        for key in ("decode_threads",):
            record["handler"].pop(key, None)
    assert before == after
    comments = [re.findall(r"#.*", each) for each in (text, changed)]
    assert comments[0] == comments[1]
    assert rewritten(changed, Setting.of(yaml.safe_load(text))) == text
    assert rewritten(changed, SETTING) == changed


def test_threads_that_were_left_out_are_added():
    text = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 4\nmaxBatchDelay: 5\nhandler:  # see there\n  variant: auto\n"
    assert Setting.of(yaml.safe_load(rewritten(text, SETTING))) == SETTING


@pytest.mark.parametrize("text", ["handler: {}\n", "minWorkers: 1\nminWorkers: 2\nhandler:\n  variant: auto\n"])
def test_what_is_no_model_configuration_is_refused(text):
    with pytest.raises(ValueError, match="lines for minWorkers"):
        rewritten(text, SETTING)


def test_a_search_goes_on_where_it_was(tmp_path):
    path = tmp_path / "video" / "measured.jsonl"
    record = Record(path, {"archive": "ab", "rungs": [{"keep": 3}]})
    record.add(SETTING, 0, 1, Point(4.0, 100.0, 200.0))
    again = Record(path, {"archive": "ab", "rungs": [{"keep": 3}]})
    assert again.get(SETTING, 0, 1) == Point(4.0, 100.0, 200.0)
    assert again.get(SETTING, 0, 0) is None
    path.write_text(path.read_text() + '{"setting": {"work')  # it was killed there
    assert len(Record(path, {"archive": "ab", "rungs": [{"keep": 3}]})) == 1
    assert len(Record(path, {"archive": "cd", "rungs": [{"keep": 3}]})) == 0  # another archive


def test_the_page_shows_every_setting_and_the_frontier():
    search = Search(Setting(1, 4, 5, 2), slo_ms=400.0)
    space = Space.of_machine(2)
    search.run(space, Surface())
    html = tuning_page(search, MACHINE, "sample.mp4", "video", rate_hz=2.4, n_all=len(space.all()), quick=False)
    assert not re.search(r"(?:https?:)?//[a-z]", html)
    assert "<script" not in html
    titles = re.findall(r"<title>(.*?)</title>", html)
    for setting in search.trials:
        assert any(title.startswith(f"{setting}: ") for title in titles)
    assert headline(search) in html
    assert len(lines(search)) == len(search.trials)
    assert sum("chosen" in line.marks for line in lines(search)) == 1
    assert f"{len(search.trials)} of {len(space.all())} settings were measured" in html
    assert "ab" * 32 in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["text"], "no model text; allowed: video, audio, ensemble"),
        (["--slo-ms", "0"], "must be above 0"),
        (["--minutes", "0.5"], "must be at least 1"),
        (["--clip", "/nowhere.mp4"], "make archive sample"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        tune.main(arguments)
    assert message in capsys.readouterr().err
