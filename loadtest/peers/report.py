"""What a comparison left: JSON to keep, a Markdown table to show, a plot to look at."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from loadtest.measure.machine import describe_machine
from loadtest.measure.results import Machine
from loadtest.peers.candidates import PEERS_PYTHON, Candidate, InProcessLoop, Peer
from loadtest.peers.comparison import Plan
from loadtest.peers.workload import PROJECT_DIR

HEADINGS = ("", "req/s", "p50 ms", "p95 ms", "CPU ms a request", "relative CPU", "memory MiB", "at rest ms/s")
WIDE_RATIO = 30  # between the bars of a panel, from which on its axis is logarithmic
RESULTS_FILE, TABLE_FILE, PLOT_FILE = "results.json", "table.md", "peers.png"


@dataclass(frozen=True)
class Report:
    """All that was measured.

    Attributes:
        machine: where, with what, and when.
        plan: how long and how often.
        standings: what `Standing.to_dict` gives, one for each candidate and model, ours before its peers.
    """

    machine: Machine
    plan: Plan
    standings: tuple[dict[str, Any], ...]

    @property
    def problems(self) -> list[str]:
        """One sentence for each row that does not count."""
        return [
            f"{standing['candidate']}, {standing['model']}: {standing['problem']}"
            for standing in self.standings
            if standing["problem"]
        ]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(standing["model"] for standing in self.standings))

    def rows(self, model: str, n_in_flight: int) -> Iterator[list[str]]:
        """The cells of one table, in the order of HEADINGS; those of an invalid row say why."""
        standings = [standing for standing in self.standings if standing["model"] == model]
        baseline = next(
            (_load(entry, n_in_flight) for entry in standings if entry["candidate"] == InProcessLoop.name), None
        )
        for standing in standings:
            load = _load(standing, n_in_flight)
            if standing["problem"] or load is None:
                reason = (standing["problem"] or "not measured").splitlines()[0]
                yield [standing["candidate"], f"not valid: {reason}", *[""] * (len(HEADINGS) - 2)]
                continue
            cpu_ms = load["cpu_ms"]["median"]
            served = standing["candidate"] != InProcessLoop.name
            yield [
                standing["candidate"],
                _rounded(load["rate_rps"]["median"]),
                _rounded(load["p50_ms"]["median"]),
                _rounded(load["p95_ms"]["median"]),
                f"{_rounded(cpu_ms)} ({_rounded(load['cpu_ms']['min'])}–{_rounded(load['cpu_ms']['max'])})",
                f"{cpu_ms / baseline['cpu_ms']['median']:.2f}" if baseline else "",
                f"{standing['memory_mib']:.0f}",
                f"{standing['rest_ms_per_s']:.1f}" if served else "",
            ]

    def tables(self) -> Iterator[Table]:
        """For the console: one a model and load."""
        for model in self.models:
            for n_in_flight in self.plan.n_in_flight:
                table = Table(title=f"{model}, {n_in_flight} in flight", title_justify="left")
                for index, heading in enumerate(HEADINGS):
                    table.add_column(heading, justify="right" if index else "left")
                for row in self.rows(model, n_in_flight):
                    table.add_row(*row)
                yield table

    def markdown(self) -> str:
        """The same for a document, with where and how it was measured."""
        blocks = [_provenance(self.machine, self.plan)]
        for model in self.models:
            for n_in_flight in self.plan.n_in_flight:
                lines = [f"**{model}, {n_in_flight} in flight**", ""]
                lines += [f"| {' | '.join(HEADINGS)} |", f"|---|{'---:|' * (len(HEADINGS) - 1)}"]
                lines += [f"| {' | '.join(row)} |" for row in self.rows(model, n_in_flight)]
                blocks.append("\n".join(lines))
        served = dict.fromkeys((entry["model"], entry["options"].partition("; ")[0]) for entry in self.standings)
        options = dict.fromkeys((entry["candidate"], entry["options"].partition("; ")[2]) for entry in self.standings)
        blocks.append("\n".join(f"- {name}: {text}" for name, text in (*served, *options)))
        return "\n\n".join(blocks) + "\n"

    def write(self, directory: Path) -> None:
        """results.json, table.md and peers.png in a directory, which is made if need be."""
        directory.mkdir(parents=True, exist_ok=True)
        record = {"machine": asdict(self.machine), "plan": asdict(self.plan), "standings": self.standings}
        (directory / RESULTS_FILE).write_text(json.dumps(record, indent=1) + "\n")
        (directory / TABLE_FILE).write_text(self.markdown())
        draw(self, directory / PLOT_FILE)

    @classmethod
    def load(cls, directory: Path) -> Report:
        """What `write` left there; raises FileNotFoundError where it did not."""
        record = json.loads((directory / RESULTS_FILE).read_text())
        plan = Plan(**record["plan"] | {"n_in_flight": tuple(record["plan"]["n_in_flight"])})
        return cls(Machine(**record["machine"]), plan, tuple(record["standings"]))


def draw(report: Report, path: Path) -> None:
    """CPU time and throughput of every candidate under the highest load, a column of panels a model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    n_in_flight = max(report.plan.n_in_flight)
    figures = (("cpu_ms", "CPU ms a request"), ("rate_rps", "requests a second"))
    figure, axes = pyplot.subplots(2, len(report.models), figsize=(4.2 * len(report.models), 5.6), squeeze=False)
    for column, model in enumerate(report.models):
        valid = [entry for entry in report.standings if entry["model"] == model and not entry["problem"]]
        loads = {entry["candidate"]: _load(entry, n_in_flight) for entry in valid}
        names = [name for name, load in loads.items() if load]
        for row, (key, label) in enumerate(figures):
            panel = axes[row, column]
            medians = [loads[name][key]["median"] for name in names]
            spread = [
                [median - loads[name][key]["min"] for name, median in zip(names, medians, strict=True)],
                [loads[name][key]["max"] - median for name, median in zip(names, medians, strict=True)],
            ]
            colors = ["#1f6f8b" if index == 0 else "#b8c4c8" for index in range(len(names))]
            panel.barh(names, medians, xerr=spread, color=colors, ecolor="#444444")
            panel.invert_yaxis()
            panel.set_xlabel(label)
            if medians and max(medians) > WIDE_RATIO * min(medians):  # else the small ones could not be told apart
                panel.set_xscale("log")
                panel.set_xlabel(f"{label}, logarithmic")
            if row == 0:
                panel.set_title(f"{model}, {n_in_flight} in flight")
            if column:
                panel.set_yticklabels([])
    figure.suptitle(textwrap.fill(str(report.machine), 55 * len(report.models)), fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def describe(models: Sequence[str], kinds: Sequence[type[Candidate]]) -> Machine:
    """This machine, the versions of everything that serves, and the digests of the archives that were copied."""
    peers = [kind.package for kind in kinds if issubclass(kind, Peer)]
    machine = describe_machine(PROJECT_DIR / "archives" / f"{model}.mar" for model in models if model != "tiny")
    return replace(machine, versions=dict(machine.versions) | (_peer_versions(peers) if peers else {}))


def _peer_versions(packages: Sequence[str]) -> Mapping[str, str]:
    program = "import importlib.metadata, json, sys; "
    program += "print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))"
    command = [str(PEERS_PYTHON), "-c", program, *packages]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _provenance(machine: Machine, plan: Plan) -> str:
    digests = ", ".join(f"{model}.mar {digest[:12]}" for model, digest in machine.archives.items())
    how = f"medians of {plan.n_repeats} turns of {plan.seconds:g} s, in brackets the smallest and largest"
    return f"{machine}; {digests + '; ' if digests else ''}{how}."


def _load(standing: Mapping[str, Any], n_in_flight: int) -> dict[str, Any] | None:
    return next((load for load in standing["loads"] if load["n_in_flight"] == n_in_flight), None)


def _rounded(value: float) -> str:
    """Three digits, and no more than two after the point."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
