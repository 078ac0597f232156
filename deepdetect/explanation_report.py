"""An explanation on disk: heatmaps as PNG, scores over time as a plot. For people, and for the command line alone."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path
from typing import Any

from rich.table import Table

TOWARDS = {True: "#d62728", False: "#1f77b4"}  # as the heatmaps: fake, real


def write_report(answer: dict[str, Any], directory: Path) -> list[Path]:
    """Write `<name>.<modality>-heatmap.png` and `<name>.timeline.png`; what lies there under a name is not replaced.

    Args:
        answer: one that was asked for with `explain`.
        directory: created where it is not there.

    Returns:
        The files written; none where nothing could be explained.
    """
    directory.mkdir(parents=True, exist_ok=True)
    explanation = answer["explanation"]
    name = _free_name(directory, Path(answer["file_name"]).stem)
    written = []
    for modality, record in explanation.items():
        written.append(directory / f"{name}.{modality}-heatmap.png")
        written[-1].write_bytes(base64.b64decode(record["heatmap"]["png_base64"]))
    if explanation:
        written.append(directory / f"{name}.timeline.png")
        _plot(answer, written[-1])
    return written


def score_table(answer: dict[str, Any]) -> Table:
    """One row a frame and a window: when, how it is judged alone, and what it adds to the whole."""
    table = Table("part", "second", "p_fake alone", "effect", "attention")
    video, audio = (answer["explanation"].get(modality) for modality in ("video", "audio"))
    if video:
        effects = video["frame_effect"] or [None]
        rows = zip(video["frame_times_s"], video["frame_p_fake"], effects, video["attention"], strict=True)
        for index, (time_s, p_fake, effect, attention) in enumerate(rows):
            table.add_row(f"frame {index}", f"{time_s:.2f}", f"{p_fake:.3f}", _signed(effect), f"{attention:.3f}")
    if audio:
        effects = audio["window_effect"] or [None]
        windows = zip(audio["window_starts_s"], audio["window_p_fake"], effects, strict=True)
        for index, (start_s, p_fake, effect) in enumerate(windows):
            table.add_row(f"window {index}", f"{start_s:.2f}", f"{p_fake:.3f}", _signed(effect), "")
    return table


def _signed(effect: float | None) -> str:
    return "-" if effect is None else f"{effect:+.4f}"


def _free_name(directory: Path, stem: str) -> str:
    """The stem, or with a number where an earlier file of this name has reports there."""
    name, count = stem, 1
    while any(path.name.startswith(f"{name}.") for path in directory.iterdir()):
        count += 1
        name = f"{stem}-{count}"
    return name


def _plot(answer: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure  # a second that only this needs, and no server

    explanation = answer["explanation"]
    figure = Figure(figsize=(9, 3.2 * len(explanation)), layout="constrained")
    figure.suptitle(f"{answer['file_name']}: {answer['prediction']}, p_fake {answer['probabilities']['fake']:.3f}")
    panels = dict(zip(explanation, figure.subplots(len(explanation), squeeze=False)[:, 0], strict=True))
    if "video" in panels:
        _plot_frames(panels["video"], explanation["video"])
    if "audio" in panels:
        _plot_windows(panels["audio"], explanation["audio"])
    figure.savefig(path, dpi=120)


def _plot_frames(axes: Any, record: dict[str, Any]) -> None:
    times_s, effects = record["frame_times_s"], record["frame_effect"]
    if effects:
        width_s = 0.6 * min(later - time_s for time_s, later in itertools.pairwise(times_s))
        axes.bar(times_s, effects, width_s, color=[TOWARDS[effect > 0] for effect in effects])
    axes.set(xlabel="second", ylabel="effect on p_fake", title="video: each frame left out (bars) and alone (dots)")
    axes.axhline(0, color="grey", linewidth=0.5)
    alone = axes.twinx()
    alone.plot(times_s, record["frame_p_fake"], "k.")
    alone.set(ylim=(0, 1), ylabel="p_fake alone")


def _plot_windows(axes: Any, record: dict[str, Any]) -> None:
    stretch_s = record["stretch_s"]
    for start_s, effects in zip(record["window_starts_s"], record["stretch_effect"], strict=True):
        lefts_s = [start_s + index * stretch_s for index in range(len(effects))]
        colours = [TOWARDS[effect > 0] for effect in effects]
        axes.bar(lefts_s, effects, stretch_s, align="edge", color=colours, alpha=0.5, edgecolor="white", linewidth=0.5)
    axes.set(
        xlabel="second",
        ylabel="effect on the window's p_fake",
        title="audio: each stretch covered up (bars) and each window alone (lines)",
    )
    axes.axhline(0, color="grey", linewidth=0.5)
    alone = axes.twinx()
    length_s = stretch_s * len(record["stretch_effect"][0])
    for start_s, p_fake in zip(record["window_starts_s"], record["window_p_fake"], strict=True):
        alone.plot([start_s, start_s + length_s], [p_fake, p_fake], "k-", linewidth=1)
    alone.set(ylim=(0, 1), ylabel="p_fake alone")
