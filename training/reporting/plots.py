"""The figures of a report, each as an `<svg>` element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure  # without pyplot: no window, no global state

from reports.theme import MUTED, N_SERIES, SERIES, themed, to_svg


@themed()
def reliability(title: str, calibration: Mapping) -> str:
    """Share of fakes against P(fake), before and after calibration, with the clips in each bin."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, stage in zip(figure.subplots(1, 2, sharey=True), ("before", "after"), strict=True):
        points = calibration[stage]
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":")
        axes.plot(points["predicted"], points["observed"], marker="o", color=SERIES[0])
        for x, y, count in zip(points["predicted"], points["observed"], points["counts"], strict=True):
            axes.annotate(str(count), (x, y), textcoords="offset points", xytext=(4, -11), fontsize=8, color=MUTED)
        axes.set(xlim=(0, 1), ylim=(-0.08, 1.05), xlabel="P(fake), mean of a bin")
        axes.set_title(f"{stage} calibration: ECE with equal priors {points['ece_balanced']:.3f}", fontsize=10)
    figure.axes[0].set_ylabel("share of fakes, classes alike")
    figure.suptitle(f"{title} (at each point: clips)", fontsize=11)
    return to_svg(figure, title)


@themed()
def roc(title: str, curves: Mapping[str, Mapping]) -> str:
    """ROC: TPR against FPR, one line a model."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":")
    for index, (name, curve) in enumerate(curves.items()):
        axes.plot(curve["fpr"], curve["tpr"], label=name, linestyle=("-", "--", "-.")[index % 3])
    axes.set(title=title, xlabel="FPR", ylabel="TPR", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right", fontsize=8)
    return to_svg(figure, title)


@themed()
def robustness(title: str, axes_of: Mapping[str, Mapping[str, Sequence[Mapping]]]) -> str:
    """AUC with its interval by level of damage, a panel an axis, a line a candidate.

    Args:
        axes_of: axis -> candidate -> points with `level` and `auc`; the level of the clean clips is None.
    """
    n_columns = min(4, len(axes_of))
    n_rows = -(-len(axes_of) // n_columns)
    figure = Figure(figsize=(3.3 * n_columns, 2.9 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for panel, (axis, curves) in zip(panels, axes_of.items(), strict=False):
        for index, (name, points) in enumerate(curves.items()):
            shown = [point for point in points if "auc" in point]
            ticks = range(len(shown))
            values = [point["auc"] for point in shown]
            low, high = ([value[bound] for value in values] for bound in ("low", "high"))
            panel.fill_between(ticks, low, high, color=SERIES[index % N_SERIES], alpha=0.15, linewidth=0)
            panel.plot(
                ticks, [value["value"] for value in values], color=SERIES[index % N_SERIES], marker="o", label=name
            )
            panel.set_xticks(
                ticks, ["clean" if point["level"] is None else f"{point['level']:g}" for point in shown], fontsize=8
            )
        panel.axhline(0.5, color=MUTED, linestyle=":")
        panel.set_title(axis, fontsize=10)
        panel.set_ylim(-0.03, 1.03)
        panel.legend(fontsize=7, loc="lower left")
    for panel in panels[len(axes_of) :]:
        panel.axis("off")
    for panel in panels[::n_columns]:
        panel.set_ylabel("AUC")
    figure.suptitle(title, fontsize=11)
    return to_svg(figure, title)
