"""The frontier of throughput against latency as a page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from loadtest.measure.results import Machine
from loadtest.report.page import templates
from loadtest.tuning.pareto import Point, frontier
from loadtest.tuning.search import Search
from loadtest.tuning.space import Setting
from reports.theme import INK, LIMIT, MUTED, SERIES, themed, tip, to_svg


@dataclass(frozen=True)
class Line:
    """A setting in the table.

    Attributes:
        marks: such as `chosen`, `in force`, `frontier`.
        spread: smallest and largest throughput of its rounds; None of one.
    """

    setting: Setting
    point: Point
    marks: tuple[str, ...]
    n_rounds: int
    spread: tuple[float, float] | None


def lines(search: Search) -> list[Line]:
    """Every setting that was measured, the best first."""
    settings = search.best()
    best = {settings[index] for index in frontier([search.point(setting) for setting in settings])}
    chosen = search.chosen()
    found = []
    for setting in settings:
        named = {"chosen": setting == chosen, "in force": setting == search.incumbent, "frontier": setting in best}
        rates = [point.throughput_hz for point in search.rounds(setting)]
        spread = (min(rates), max(rates)) if len(rates) > 1 else None
        marks = tuple(name for name, holds in named.items() if holds)
        found.append(Line(setting, search.point(setting), marks, len(rates), spread))
    return found


def headline(search: Search) -> str:
    """What came of it, in a sentence or two."""
    chosen = search.chosen()
    now, then = search.point(chosen), search.point(search.incumbent)
    if chosen == search.incumbent:
        return (
            f"Nothing beats the setting in force beyond noise: {chosen}; {now.throughput_hz:.3g} clips a second, "
            f"p95 {now.p95_ms:.0f} ms."
        )
    return (
        f"{chosen} instead of {search.incumbent}: {now.throughput_hz:.3g} clips a second instead of "
        f"{then.throughput_hz:.3g}, p95 {now.p95_ms:.0f} ms instead of {then.p95_ms:.0f}."
    )


def frontier_figure(search: Search) -> str:
    """The plot as an `<svg>` element."""
    last = max(rung for rungs in search.trials.values() for rung in rungs)
    with themed():
        figure = Figure(figsize=(9.0, 4.6), layout="constrained")
        axes = figure.subplots()
        drawn = lines(search)
        best = sorted((line.point for line in drawn if "frontier" in line.marks), key=lambda point: point.p95_ms)
        axes.plot(
            [point.p95_ms for point in best],
            [point.throughput_hz for point in best],
            color=SERIES[0],
            drawstyle="steps-post",
            label="frontier",
        )
        for line in reversed(drawn):
            _draw(axes, line, is_finalist=last in search.trials[line.setting])
        if search.slo_ms is not None and search.slo_ms < 3 * max(line.point.p95_ms for line in drawn):
            axes.axvline(search.slo_ms, color=LIMIT, linestyle=(0, (6, 3)), linewidth=1.4, label="SLO")
        axes.set(xlabel="p95 (ms)", ylabel="clips a second")
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
        handles, labels = axes.get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        axes.legend(shown.values(), shown, loc="lower left", bbox_to_anchor=(0, 1.02), ncols=len(shown))
        return to_svg(figure, "throughput against p95 of every setting that was measured")


def tuning_page(
    search: Search, machine: Machine, clip: str, model: str, *, rate_hz: float, n_all: int, quick: bool
) -> str:
    """The HTML.

    Args:
        clip: what was uploaded, in words.
        rate_hz: at which latency was measured.
        n_all: how many settings the grid has.
    """
    return (
        templates()
        .get_template("tuning.html")
        .render(
            model=model,
            machine=machine,
            clip=clip,
            headline=headline(search),
            figure=Markup(frontier_figure(search)),
            lines=lines(search),
            rate_hz=rate_hz,
            n_measured=len(search.trials),
            n_all=n_all,
            quick=quick,
        )
    )


def _draw(axes, line: Line, *, is_finalist: bool) -> None:
    looks: Sequence[tuple[str, str, str]] = (("chosen", SERIES[2], "D"), ("in force", SERIES[1], "s"))
    name, colour, marker = next((look for look in looks if look[0] in line.marks), ("measured", MUTED, "o"))
    if name == "measured" and "frontier" in line.marks:
        colour = SERIES[0]
    (mark,) = axes.plot(
        line.point.p95_ms,
        line.point.throughput_hz,
        marker,
        color=colour,
        markersize=9 if name != "measured" else 7 if is_finalist else 4,
        linestyle="none",
        label=name if name != "measured" else "_",
    )
    tip(mark, f"{line.setting}: {line.point.throughput_hz:.3g}/s, p95 {line.point.p95_ms:.0f} ms")
    if name != "measured":
        at = (line.point.p95_ms, line.point.throughput_hz)
        axes.annotate(str(line.setting), at, (10, -12), textcoords="offset points", size=9, color=INK)
