"""What the runs of a scenario look like: each figure is an `<svg>` element, or empty where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtest.measure.results import JUDGED, PERCENTILES, Run, Sample
from reports.theme import BAD, INK, LIMIT, MUTED, N_SERIES, ON_SERIES, SERIES, themed, tip, to_svg

WIDTH_IN = 9.0
MAX_POINTS = 700  # of a scatter; the slowest are always among them
MAX_STEPS = 250  # of a distribution
MAX_HISTOGRAMS = 3  # over each other; more are not told apart
LOG_RATIO = 25  # between slowest and quickest: from here on the axis is logarithmic
STAGES = ("queue", "decode", "faces", "features", "forward", "fuse", "explain", "rest")


def series_of(run: Run) -> dict[str, list[Sample]]:
    """The judged requests of a run, apart by the first of phase, cache, model and door that differs among them."""
    judged = [sample for sample in run.samples if sample.is_judged]
    for attribute in ("phase", "cache", "model", "door"):
        values = sorted({getattr(sample, attribute) for sample in judged} - {""})
        if len(values) > 1:
            return {value: [each for each in judged if getattr(each, attribute) == value] for value in values}
    return {"": judged} if judged else {}


def latency_distribution(runs: Sequence[Run]) -> str:
    """Histogram, and below it the share of requests that were answered within a time."""
    found = _named_series(runs)
    if not found:
        return ""
    with themed():
        with_bars = len(found) <= MAX_HISTOGRAMS
        figure = Figure(figsize=(WIDTH_IN, 4.2 if with_bars else 3.2), layout="constrained")
        panels = figure.subplots(1 + with_bars, 1, sharex=True, squeeze=False, height_ratios=(1, 2.2)[-1 - with_bars :])
        shares = panels[-1, 0]
        everything = np.concatenate(list(found.values()))
        is_log = _scale_latency(shares, everything)
        for index, (name, latencies) in enumerate(found.items()):
            _distribution(shares, name, latencies, SERIES[index % N_SERIES], with_text=len(found) == 1)
        shares.set(xlabel="latency (ms)", ylabel="answered within", ylim=(0, 1.03))
        shares.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        if with_bars:
            _histograms(panels[0, 0], list(found.values()), is_log)
        if len(found) > 1:
            handles, labels = shares.get_legend_handles_labels()
            place = {"loc": "lower left", "bbox_to_anchor": (0, 1.02), "ncols": min(6, len(found))}
            panels[0, 0].legend(handles, labels, **place)
        return to_svg(figure, "distribution of latency")


def latency_over_time(runs: Sequence[Run]) -> str:
    """A panel a run with a point a request, failed ones as crosses."""
    shown = [run for run in runs if run.samples]
    if not shown:
        return ""
    with themed():
        n_columns = min(3, len(shown))
        n_rows = -(-len(shown) // n_columns)
        figure = Figure(figsize=(WIDTH_IN, 0.5 + 2.1 * n_rows), layout="constrained")
        panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
        _scale_latency(panels[0, 0], 1e3 * np.array([s.latency_s for run in shown for s in run.samples]), axis="y")
        for run, panel in zip(shown, panels.flat, strict=False):
            _over_time(panel, run)
            panel.set_title(run.label)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        handles = {
            name: handle
            for panel in panels.flat
            for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        if len(handles) > 1:
            figure.legend(handles.values(), handles, loc="outside upper left", ncols=6, handletextpad=0.2)
        for row in panels:
            row[0].set_ylabel("latency (ms)")
        for panel in panels.flat[max(0, len(shown) - n_columns) : len(shown)]:
            panel.set_xlabel("sent after (s)")
        return to_svg(figure, "latency over time")


def rate_curves(runs: Sequence[Run]) -> str:
    """Of open loops at several rates: what was answered, and how late, with the latency to keep within."""
    open_loops = sorted((run for run in runs if run.rate_hz is not None), key=lambda run: run.rate_hz or 0.0)
    if len({run.rate_hz for run in open_loops}) < 2:
        return ""
    rates = [run.rate_hz for run in open_loops]
    with themed():
        figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
        answered, late = figure.subplots(1, 2)
        answered.axline((0, 0), slope=1, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        _curve(answered, rates, [run.throughput_hz for run in open_loops], open_loops, SERIES[0], "answered", "/s")
        answered.set(xlabel="scheduled (requests/s)", ylabel="answered (requests/s)", xlim=(0, None), ylim=(0, None))
        everything = []
        for percent, colour in ((50, SERIES[2]), (95, SERIES[1])):
            latencies = [1e3 * run.percentile_s(percent) for run in open_loops]
            everything += latencies
            _curve(late, rates, latencies, open_loops, colour, f"p{percent}", " ms")
        slo_ms = slo_of(open_loops)
        if slo_ms is not None:
            late.axhline(slo_ms, color=LIMIT, linewidth=1.4, linestyle=(0, (6, 3)), label=f"SLO {slo_ms:g} ms")
            everything.append(slo_ms)
        _scale_latency(late, np.array(everything), axis="y")
        late.set(xlabel="scheduled (requests/s)", ylabel="latency (ms)", xlim=(0, None))
        late.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=3)
        return to_svg(figure, "throughput and latency against rate")


def slo_of(runs: Sequence[Run]) -> float | None:
    """The latency in ms that the runs were to keep within, as their settings say."""
    return next((float(run.settings["slo_ms"]) for run in runs if run.settings.get("slo_ms") is not None), None)


def stages_ms(run: Run) -> dict[str, float]:
    """Mean milliseconds of a judged request in each stage; `rest` is what its worker spent beyond the stages."""
    stages = {name: 1e3 * seconds for name, seconds in run.stages_s().items()}
    if not stages:
        return {}
    processing_ms = 1e3 * float(np.mean([sample.processing_s for sample in run.samples if sample.is_judged]))
    stages["rest"] = max(0.0, processing_ms - sum(stages.values()) + stages["queue"])
    order = {name: index for index, name in enumerate(STAGES)}
    return dict(sorted(stages.items(), key=lambda stage: order.get(stage[0], len(order))))


def stage_shares(runs: Sequence[Run]) -> str:
    """A bar a run: which share of its requests' time went where."""
    shown = {run.label: stages for run in runs if sum((stages := stages_ms(run)).values()) > 0}
    if not shown:
        return ""
    names = list(dict.fromkeys(name for stages in shown.values() for name in stages))
    names = [name for name in names if any(stages.get(name, 0.0) > 0 for stages in shown.values())]
    with themed():
        figure = Figure(figsize=(WIDTH_IN, 0.75 + 0.42 * len(shown)), layout="constrained")
        axes = figure.subplots()
        left = dict.fromkeys(shown, 0.0)
        for name in names:
            colour = _stage_colour(name)
            for label, stages in shown.items():
                share = stages.get(name, 0.0) / sum(stages.values())
                (bar,) = axes.barh(label, share, left=left[label], color=colour, height=0.68)
                tip(bar, f"{label}, {name}: {stages.get(name, 0.0):.1f} ms, {share:.0%}")
                if share > 0.04:
                    centre = left[label] + share / 2
                    axes.text(centre, label, f"{share:.0%}", ha="center", va="center", color=ON_SERIES, size=9)
                left[label] += share
        handles = [axes.barh(0, 0, color=_stage_colour(name)) for name in names]
        axes.legend(handles, names, loc="lower left", bbox_to_anchor=(0, 1.02), ncols=len(names))
        axes.set(xlim=(0, 1), yticks=range(len(shown)))
        axes.set_yticklabels([f"{label}, {sum(stages.values()):.0f} ms" for label, stages in shown.items()])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axes.invert_yaxis()
        axes.grid(False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return to_svg(figure, "share of each stage")


def usage_over_time(runs: Sequence[Run]) -> str:
    """Cores in use and resident memory of the server's processes."""
    shown = [run for run in runs if len(run.usage) > 1]
    if not shown:
        return ""
    with themed():
        figure = Figure(figsize=(WIDTH_IN, 2.7), layout="constrained")
        cores, memory = figure.subplots(1, 2)
        for index, run in enumerate(shown):
            at_s = np.array([moment.at_s for moment in run.usage])
            used_s = np.diff([moment.cpu_s for moment in run.usage])
            colour = SERIES[index % N_SERIES]
            rates = used_s / np.maximum(np.diff(at_s), 1e-9)
            cores.plot(at_s[1:], rates, color=colour, label=run.label, linewidth=1.4)
            memory.plot(at_s, [moment.rss_bytes / 2**20 for moment in run.usage], color=colour, linewidth=1.4)
        cores.set(xlabel="after (s)", ylabel="cores in use", ylim=(0, None))
        memory.set(xlabel="after (s)", ylabel="resident (MiB)", ylim=(0, None))
        if len(shown) > 1:
            figure.legend(loc="outside upper left", ncols=min(6, len(shown)))
        return to_svg(figure, "processor and memory over time")


def _named_series(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Milliseconds by what tells the series apart."""
    parts = {(run.label, name): samples for run in runs for name, samples in series_of(run).items()}
    several = len({label for label, _ in parts}) > 1
    if several and len(parts) > N_SERIES:  # then each run as a whole
        parts = {
            (run.label, ""): [each for each in run.samples if each.is_judged] for run in runs if run.outcomes[JUDGED]
        }
    return {
        " ".join(filter(None, (label if several or not name else "", name))): np.sort(
            [1e3 * sample.latency_s for sample in samples]
        )
        for (label, name), samples in parts.items()
    }


def _distribution(axes: Axes, name: str, latencies: np.ndarray, colour: str, *, with_text: bool) -> None:
    shares = np.linspace(0, 1, min(MAX_STEPS, max(2, len(latencies))))
    axes.plot(np.quantile(latencies, shares, method="higher"), shares, color=colour, drawstyle="steps-post", label=name)
    for percent in PERCENTILES:
        at_ms = float(np.percentile(latencies, percent, method="higher"))
        (mark,) = axes.plot(at_ms, percent / 100, "o", color=colour, markersize=6)
        tip(mark, f"{name + ', ' if name else ''}p{percent}: {at_ms:.1f} ms")
        if with_text and percent != 90:
            text = f"p{percent} {at_ms:.3g} ms"
            axes.annotate(text, (at_ms, percent / 100), (8, -9), textcoords="offset points", size=9, color=INK)


def _histograms(axes: Axes, series: Sequence[np.ndarray], is_log: bool) -> None:
    everything = np.concatenate(series)
    low, high = max(everything.min(), 1e-2), max(everything.max(), 2e-2)
    edges = np.geomspace(low, 1.001 * high, 50) if is_log else np.linspace(0, high, 50)
    look = {"histtype": "stepfilled", "alpha": 0.75} if len(series) == 1 else {"histtype": "step"}
    for latencies, colour in zip(series, SERIES, strict=False):
        axes.hist(latencies, edges, weights=np.full(len(latencies), 1 / len(latencies)), color=colour, **look)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines["left"].set_visible(False)


def _over_time(panel: Axes, run: Run) -> None:
    failed = [sample for sample in run.samples if not sample.is_well]
    for index, (name, samples) in enumerate(series_of(run).items()):
        chosen = _thinned(samples)
        (points,) = panel.plot(
            [sample.scheduled_s for sample in chosen],
            [1e3 * sample.latency_s for sample in chosen],
            "o",
            color=SERIES[index % N_SERIES],
            markersize=3,
            markeredgewidth=0,
            alpha=0.65,
            label=name,
        )
        tip(points, f"{' '.join(filter(None, (run.label, name)))}: {len(samples)} requests")
    if failed:
        (crosses,) = panel.plot(
            [sample.scheduled_s for sample in failed],
            [1e3 * sample.latency_s for sample in failed],
            "x",
            color=BAD,
            markersize=5,
            label="failed",
        )
        tip(crosses, f"{run.label}: {len(failed)} failed")


def _thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most so many that a page stays small: the slowest tenth of the room, and evenly of the others."""
    if len(samples) <= MAX_POINTS:
        return list(samples)
    ordered = sorted(samples, key=lambda sample: sample.latency_s)
    slowest, others = ordered[-MAX_POINTS // 10 :], sorted(ordered[: -MAX_POINTS // 10], key=lambda s: s.scheduled_s)
    keep = np.linspace(0, len(others) - 1, MAX_POINTS - len(slowest)).astype(int)
    return slowest + [others[index] for index in keep]


def _curve(
    axes: Axes, rates: Sequence, values: Sequence[float], runs: Sequence[Run], colour: str, name: str, unit: str
) -> None:
    axes.plot(rates, values, color=colour, label=name)
    for rate, value, run in zip(rates, values, runs, strict=True):
        face = colour if run.is_valid else "none"
        (mark,) = axes.plot(rate, value, "o", markeredgecolor=colour, markerfacecolor=face, markersize=6)
        tip(mark, f"{name} at {rate:g}/s: {value:.3g}{unit}{'' if run.is_valid else ' (does not count)'}")


def _scale_latency(axes: Axes, values_ms: np.ndarray, axis: str = "x") -> bool:
    """Logarithmic where the values are far apart; returns whether it is."""
    values_ms = values_ms[np.isfinite(values_ms)]
    is_log = bool(len(values_ms)) and values_ms.max() / max(values_ms.min(), 1e-2) > LOG_RATIO
    if is_log:
        getattr(axes, f"set_{axis}scale")("log")
        ticks = getattr(axes, f"{axis}axis")
        ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks.set_minor_formatter(NullFormatter())
    elif len(values_ms):
        getattr(axes, f"set_{axis}lim")(0, 1.06 * max(values_ms.max(), 1e-2))
    return is_log


def _stage_colour(name: str) -> str:
    return SERIES[STAGES.index(name)] if name in STAGES else MUTED
