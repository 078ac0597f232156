"""What the exported models are worth: metrics with intervals, robustness curves, calibration, one report.

    python -m training.evaluate --video-data videos/ --audio-data sounds/            # and the ensemble: make evaluate
    python -m training.evaluate --audio-data sounds/ --quick                         # on few clips and levels
    python -m training.evaluate --audio-data sounds/ --artifact runs/mine/model.exported/artifact
    python -m training.evaluate --audio-data sounds/ --split val test                # once, when all is decided

Artifacts are TorchScript directories as training.export writes them; fp32 and int8 stand beside each other, and further
artifacts (a light model, last week's) beside the first. Every file goes the way of a request, from decoding to
P(fake). Where there is a model and data of both modalities, video and audio clips of one class are muxed in memory and
judged by the ensemble. Written are report.html, report.md and report.json. Scores are kept in scores.jsonl, by the
digests of model, content and damage: a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model_defs.errors import ModelLoadError
from model_defs.inference.fusion import DEFAULT_WEIGHTS
from model_defs.networks.artifact import ArtifactError, read_manifest
from model_defs.networks.weights import sha256_of
from training.data.clip import SPLITS, Clip, DatasetError, select
from training.data.datasets import SPLIT_ORIGINS, load_dataset
from training.data.prepared import check_contents
from training.evaluation import report_tables
from training.evaluation.adversarial import BUDGET_UNITS, attacks, score_attacked
from training.evaluation.av_pairs import make_pairs, score_pairs
from training.evaluation.degradations import DEGRADATIONS
from training.evaluation.file_scores import Candidate, ClipScores, ScoreCache, score_files
from training.evaluation.metadata_baseline import N_TREES, metadata_scores
from training.evaluation.ood_media import N_FILES, score_unlike
from training.evaluation.report_tables import Resampling
from training.evaluation.subset import balanced_subset
from training.exporting.measurement import describe_machine
from training.reporting.report import DEFAULT_OUTPUT, write_report

DEFAULT_ARTIFACTS = (Path("build/artifacts/video"), Path("build/artifacts/audio"))
DEFAULT_RESAMPLING = Resampling()
VARIANTS = ("fp32", "int8")  # that run on any CPU
TEST_NOTE = "The test split was opened. It is for one measurement, when everything is decided: choose nothing by it."
N_QUICK_FILES = 8  # of each kind that an anomaly score should tell
N_ROBUSTNESS_CLIPS = {False: 24, True: 12}  # by whether it is quick


def candidates_of(paths: Sequence[Path]) -> dict[str, list[Candidate]]:
    """modality -> candidates, in the order given.

    Raises:
        ArtifactError: a directory is no artifact, or two have the same name.
    """
    found: dict[str, list[Candidate]] = {}
    for path in paths:
        manifest = read_manifest(path)
        for variant in (variant for variant in VARIANTS if variant in manifest["variants"]):
            candidate = Candidate(f"{manifest['name']} {variant}", path, variant)
            same = found.setdefault(manifest["modality"], [])
            if candidate.name in [other.name for other in same]:
                candidate = Candidate(f"{path.name} {variant}", path, variant)
            if candidate.name in [other.name for other in same]:
                candidate = Candidate(f"{path} {variant}", path, variant)
            same.append(candidate)
    return found


def evaluate(
    candidates: Mapping[str, Sequence[Candidate]],
    data: Mapping[str, Sequence[Clip]],
    cache: ScoreCache,
    *,
    splits: Sequence[str] = ("val",),
    quick: bool = False,
    n_robustness_clips: int | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
    unlike: Mapping[str, Sequence[Path]] | None = None,
) -> dict:
    """Everything that the report shows, as JSON values.

    Thresholds and fusion weights are fitted on val where it is among the splits, and on nothing else.

    Args:
        candidates: modality -> variants; the first of each modality is the one that attacks and the ensemble use.
        data: modality -> clips of all splits.
        splits: to measure. Damage is measured on the first.
        n_robustness_clips: of the first split, both classes alike; 0 leaves robustness out.
        unlike: modality -> folders with further files that are neither faces nor speech, each a kind.

    Raises:
        DatasetError: a split has no clip of one class.
    """
    n_clips = N_ROBUSTNESS_CLIPS[quick] if n_robustness_clips is None else n_robustness_clips
    unlike = unlike or {}
    began_s = time.perf_counter()
    report: dict = {"machine": describe_machine(), "quick": quick, "splits": list(splits), "modalities": {}}
    report["notes"] = [TEST_NOTE] if "test" in splits else []
    usable = [modality for modality in candidates if data.get(modality)]
    for modality in usable:
        held = [split for split in splits if split in SPLITS or select(data[modality], split)]
        clips = {split: select(data[modality], split) for split in held}
        if empty := [split for split, members in clips.items() if len({clip.label for clip in members}) < 2]:
            raise DatasetError(f"the {modality} data have no clips of both classes in: {', '.join(empty)}")
        scores = {split: score_files(candidates[modality], members, cache) for split, members in clips.items()}
        known = {clip.system for clip in select(data[modality], "train") if clip.label}
        part = _modality(candidates[modality], scores, known, resampling)
        for split, baseline in _metadata_baseline(modality, data[modality], held, cache, resampling).items():
            part["splits"][split]["metadata_baseline"] = baseline
        strange = score_unlike(
            candidates[modality], cache, N_QUICK_FILES if quick else N_FILES, unlike.get(modality, ())
        )
        if anomaly := report_tables.anomaly(candidates[modality], scores, strange, known):
            part["anomaly"] = anomaly
        if n_clips:
            subset = balanced_subset(clips[splits[0]], n_clips)
            part["robustness"] = _robustness(candidates[modality], subset, cache, quick, resampling)
        report["modalities"][modality] = part
    if set(usable) >= set(DEFAULT_WEIGHTS):
        first = {modality: candidates[modality][0] for modality in DEFAULT_WEIGHTS}
        report["ensemble"] = _ensemble(first, data, splits, cache, resampling)
    report["took_s"] = round(time.perf_counter() - began_s, 1)
    return report


def _modality(
    candidates: Sequence[Candidate], scores: Mapping[str, ClipScores], known_systems: set[str], resampling: Resampling
) -> dict:
    part: dict = {"artifacts": {one.name: _artifact(one) for one in candidates}, "splits": {}, "thresholds": {}}
    for split, found in scores.items():
        part["splits"][split] = {"refused": dict(found.refused), "models": {}}
        for one in candidates:
            p_fake = found.p_fake(one)
            part["splits"][split]["models"][one.name] = {
                **report_tables.overall(found.labels, p_fake, found.groups, one.calibration.threshold, resampling),
                **report_tables.breakdown(found, one, resampling),
                "generators": report_tables.generators(found, one, known_systems, resampling),
                "selective": report_tables.selective(found.labels, p_fake, one.calibration.threshold),
                "calibration": report_tables.calibration(found, one),
                "roc": report_tables.roc(found.labels, p_fake),
                **report_tables.curves(found.labels, p_fake),
            }
    if "val" in scores:
        for one in candidates:
            by_split = {split: (found.labels, found.p_fake(one)) for split, found in scores.items()}
            labels, p_fake = by_split["val"]
            part["thresholds"][one.name] = report_tables.thresholds(p_fake[labels == 0], by_split)
    return part


def _artifact(one: Candidate) -> dict:
    manifest, entry = one.manifest, one.manifest["variants"][one.variant]
    return {
        "sha256": one.sha256,
        "weights_sha256": manifest["weights_sha256"],
        "network": manifest["network"],
        "size_bytes": entry["size_bytes"],
        "forward_ms": entry.get("forward_ms"),
        "measured_on": {key: (manifest.get("measured_on") or {}).get(key) for key in ("date", "hardware")},
    }


def _metadata_baseline(
    modality: str, clips: Sequence[Clip], splits: Sequence[str], cache: ScoreCache, resampling: Resampling
) -> dict[str, dict]:
    """By split what a classifier makes of the files' metadata alone; empty where no train split is there to fit it."""
    train = select(clips, "train")
    if "train" in splits or len({clip.label for clip in train}) < 2:
        return {}
    key = cache.key(
        "metadata_baseline", modality, list(splits), data_digest([*train, *select(clips, *splits)]), N_TREES
    )
    if (record := cache.get(key)) is None:
        found = metadata_scores(clips, modality, splits)
        record = {
            split: {"p_fake": one.p_fake.tolist(), "labels": one.labels, "groups": one.groups}
            for split, one in found.items()
        }
        cache.put(key, record)
    return {
        split: report_tables.overall(np.array(one["labels"]), np.array(one["p_fake"]), one["groups"], 0.5, resampling)
        for split, one in record.items()
    }


def _robustness(
    candidates: Sequence[Candidate], clips: Sequence[Clip], cache: ScoreCache, quick: bool, resampling: Resampling
) -> dict:
    """Curves by axis and candidate; each begins with the same clips as they are."""
    modality, attacker = candidates[0].modality, candidates[0]
    clean = score_files(candidates, clips, cache)
    start = {one.name: {"level": None, **report_tables.curve_point(clean, one, resampling)} for one in candidates}
    damage: dict[str, dict[str, list]] = {}
    for degradation in DEGRADATIONS[modality](quick=quick):
        found = score_files(candidates, clips, cache, degradation)
        for one in candidates:
            curve = damage.setdefault(degradation.axis, {}).setdefault(one.name, [start[one.name]])
            curve.append({"level": degradation.level, **report_tables.curve_point(found, one, resampling)})
    attacked: dict[str, dict[str, list]] = {}
    for attack in attacks(modality, quick=quick) if attacker.variant == "fp32" else ():
        found = score_attacked(attacker, clips, cache, attack)
        curve = attacked.setdefault(attack.axis, {}).setdefault(attacker.name, [start[attacker.name]])
        curve.append({"level": attack.budget, **report_tables.curve_point(found, attacker, resampling)})
    return {"clips": len(clips), "damage": damage, "attacks": attacked, "budget_unit": BUDGET_UNITS[modality]}


def _ensemble(
    candidates: Mapping[str, Candidate],
    data: Mapping[str, Sequence[Clip]],
    splits: Sequence[str],
    cache: ScoreCache,
    resampling: Resampling,
) -> dict:
    """Muxed pairs under the configured weights, and under those that val's pairs would choose."""
    fused: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    part: dict = {"splits": {}, "left_out": {}, "variants": {name: one.served.name for name, one in candidates.items()}}
    for split in splits:
        chosen = {modality: select(data[modality], split) for modality in candidates}
        if any(len({clip.label for clip in clips}) < 2 for clips in chosen.values()):
            continue  # a further set of one modality alone
        found = score_pairs(candidates, make_pairs(chosen["video"], chosen["audio"]), cache)
        part["left_out"][split] = found.n_left_out
        rows = {"ensemble": found.fused(DEFAULT_WEIGHTS)}
        fused[split] = found.labels, rows["ensemble"]
        rows |= {f"{modality} of the pairs": p_fake for modality, p_fake in found.p_fakes.items()}
        part["splits"][split] = {
            name: report_tables.overall(found.labels, p_fake, found.groups, 0.5, resampling)
            for name, p_fake in rows.items()
        }
        if len(set(found.labels)) == 2:
            part["splits"][split]["ensemble"] |= report_tables.curves(found.labels, rows["ensemble"])
        if split == "val" and len(set(found.labels)) == 2:
            part["fusion"] = report_tables.fusion(found)
    if "val" in fused:
        labels, p_fake = fused["val"]
        part["thresholds"] = report_tables.thresholds(p_fake[labels == 0], fused) if (labels == 0).any() else []
    return part


def data_digest(clips: Sequence[Clip]) -> str:
    """SHA-256 over content, class, split and group of every clip, whatever their order and place."""
    rows = sorted(f"{sha256_of(clip.path)} {clip.label} {clip.split} {clip.group}" for clip in clips)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def further_clips(folders: Sequence[str], layout: str) -> list[Clip]:
    """The clips of further folders, but for those to train on; each folder is a split of its own.

    Args:
        folders: NAME=DIR.
        layout: of the data.

    Raises:
        DatasetError: one is not written so, or takes the name of a split that every data set has.
    """
    found = []
    for one in folders:
        name, _, folder = one.partition("=")
        if not (name and folder) or name in SPLITS:
            raise DatasetError(f"{one!r} is not NAME=DIR with a name other than {', '.join(SPLITS)}")
        clips = [clip for clip in load_dataset(Path(folder), layout=layout) if clip.split != "train"]
        found += [replace(clip, split=name) for clip in clips]
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--artifact",
        type=Path,
        nargs="+",
        default=DEFAULT_ARTIFACTS,
        metavar="DIR",
        help="artifact directories; the first of each modality is what the ensemble uses; default: "
        + ", ".join(map(str, DEFAULT_ARTIFACTS)),
    )
    add("--video-data", type=Path, metavar="DIR", help="labelled clips for the video models")
    add("--audio-data", type=Path, metavar="DIR", help="labelled clips for the audio models")
    add("--format", default="auto", help="layout of the data, see training.prepare --help; default: %(default)s")
    add("--splits-from", choices=SPLIT_ORIGINS, default="published", help="whose splits; default: %(default)s")
    add(
        "--split",
        nargs="+",
        choices=SPLITS,
        default=["val"],
        help="splits to measure; test must be asked for, and is for one measurement at the end; default: val",
    )
    for modality in ("video", "audio"):
        add(
            f"--further-{modality}",
            nargs="+",
            default=(),
            metavar="NAME=DIR",
            help=f"further {modality} data, each measured as a split of that name; all of it but train clips",
        )
        add(
            f"--unlike-{modality}",
            type=Path,
            nargs="+",
            default=(),
            metavar="DIR",
            help=f"folders of {modality} files unlike the data, each a kind: does the anomaly score tell?",
        )
    add("--quick", action="store_true", help="fewer clips and levels of damage: minutes on two cores")
    add("--robustness-clips", type=int, metavar="N", help="damage is measured on so many; 24, --quick: 12; 0: none")
    add("--resamples", type=int, default=1_000, metavar="N", help="of the bootstrap; default: %(default)s")
    add("--threads", type=int, default=1, metavar="N", help="torch threads; default: %(default)s, as in a worker")
    add("--output", type=Path, default=DEFAULT_OUTPUT, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(argv)
    if not (options.video_data or options.audio_data):
        parser.error("name the data: --video-data DIR, --audio-data DIR, or both")
    torch.set_num_threads(options.threads)
    try:
        candidates = candidates_of(options.artifact)
        data = {
            modality: load_dataset(folder, layout=options.format, splits=options.splits_from)
            for modality, folder in (("video", options.video_data), ("audio", options.audio_data))
            if folder
        }
        if absent := set(data) - set(candidates):
            raise DatasetError(f"there are {', '.join(absent)} data but no such model among the artifacts")
        for modality, folders in (("video", options.further_video), ("audio", options.further_audio)):
            if modality in data:
                data[modality] += further_clips(folders, options.format)
        names = [clip.split for clips in data.values() for clip in clips if clip.split not in SPLITS]
        splits = [*options.split, *dict.fromkeys(names)]
        for clips in data.values():
            check_contents(clips, options.output)
        report = evaluate(
            candidates,
            data,
            ScoreCache(options.output / "scores.jsonl"),
            splits=splits,
            quick=options.quick,
            n_robustness_clips=options.robustness_clips,
            resampling=Resampling(options.resamples, min(200, options.resamples)),
            unlike={"video": options.unlike_video, "audio": options.unlike_audio},
        )
    except (ArtifactError, DatasetError, ModelLoadError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
    report["data"] = {
        modality: {"sha256": data_digest(select(clips, *splits)), "clips": len(select(clips, *splits))}
        for modality, clips in data.items()
    }
    markdown = write_report(report, options.output)
    print(markdown)
    print(f"written: {', '.join(str(options.output / name) for name in ('report.html', 'report.md', 'report.json'))}")


if __name__ == "__main__":
    main()
