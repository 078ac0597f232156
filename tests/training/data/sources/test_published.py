"""Each published layout, made as its publisher describes it, is found and read without being told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.data.datasets import DatasetError, LeakError, check_no_leak, describe, find_source, load_dataset, select
from training.data.sources import FORMATS


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def by_name(folder: Path, clips) -> dict:
    return {clip.path.relative_to(folder).as_posix(): clip for clip in clips}


@pytest.fixture
def faceforensics(tmp_path) -> Path:
    for number in ("000", "003", "071", "054", "100", "101"):
        make_files(tmp_path, f"original_sequences/youtube/c23/videos/{number}.mp4")
    for method in ("Deepfakes", "Face2Face", "FaceSwap", "FaceShifter", "NeuralTextures"):
        for pair in ("000_003", "003_000", "071_054", "100_101"):
            make_files(tmp_path, f"manipulated_sequences/{method}/c23/videos/{pair}.mp4")
    make_files(tmp_path, "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4")
    make_files(tmp_path, "original_sequences/actors/c23/videos/01__exit_phone_room.mp4")
    name = "01_02__exit_phone_room__YVGY8LOK.mp4"
    make_files(tmp_path, f"manipulated_sequences/DeepFakeDetection/c23/videos/{name}")
    return tmp_path


def write_splits(folder: Path) -> None:
    pairs = {"train": [["000", "003"]], "val": [["071", "054"]], "test": [["100", "101"]]}
    for split, value in pairs.items():
        (folder / f"{split}.json").write_text(json.dumps(value))


def test_faceforensics_links_the_two_sequences_of_a_swap(faceforensics):
    assert find_source(faceforensics).name == "faceforensics"
    clips = by_name(faceforensics, load_dataset(faceforensics))
    swap = clips["manipulated_sequences/Face2Face/c23/videos/000_003.mp4"]
    assert (swap.label, swap.system, swap.source) == (1, "Face2Face", "FaceForensics++ c23")
    assert swap.group == "ff++/000+ff++/003"
    for number in ("000", "003"):
        original = clips[f"original_sequences/youtube/c23/videos/{number}.mp4"]
        assert (original.label, original.group, original.split) == (0, swap.group, swap.split)
    acted = clips["manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room__YVGY8LOK.mp4"]
    assert acted.group == clips["original_sequences/actors/c23/videos/01__exit_phone_room.mp4"].group
    assert not any("masks" in name for name in clips)


def test_faceforensics_keeps_its_official_splits_where_they_lie(faceforensics):
    write_splits(faceforensics)
    clips = by_name(faceforensics, load_dataset(faceforensics))
    for number, split in {"000": "train", "054": "val", "101": "test"}.items():
        assert clips[f"original_sequences/youtube/c23/videos/{number}.mp4"].split == split
    assert {clip.split for clip in load_dataset(faceforensics, splits="own", test_share=0.0)} == {"train", "val"}
    make_files(faceforensics, "manipulated_sequences/FaceSwap/c23/videos/000_100.mp4")
    with pytest.raises(DatasetError, match="different official splits"):
        load_dataset(faceforensics)


@pytest.fixture
def celeb_df(tmp_path) -> Path:
    """Six celebrities, everybody swapped with everybody, as published."""
    people = range(6)
    make_files(tmp_path, *(f"Celeb-real/id{a}_000{n}.mp4" for a in people for n in range(2)))
    make_files(tmp_path, *(f"Celeb-synthesis/id{a}_id{b}_0000.mp4" for a in people for b in people if a != b))
    make_files(tmp_path, *(f"YouTube-real/0017{n}.mp4" for n in range(5)))
    listed = ["1 YouTube-real/00170.mp4", "1 Celeb-real/id0_0000.mp4", "0 Celeb-synthesis/id0_id1_0000.mp4"]
    (tmp_path / "List_of_testing_videos.txt").write_text("\n".join(listed) + "\n")
    return tmp_path


def test_celeb_df_test_list_shares_no_celebrity_with_what_is_left(celeb_df, capsys):
    clips = load_dataset(celeb_df)
    assert {clip.path.name for clip in select(clips, "test")} == {"00170.mp4", "id0_0000.mp4", "id0_id1_0000.mp4"}
    rest = select(clips, "train", "val")
    assert not [clip for clip in rest if {"celeb-df/id0", "celeb-df/id1"} & set(clip.origins)]
    assert [clip for clip in rest if clip.label == 1]
    assert "--splits own" in capsys.readouterr().out


def test_celeb_df_divided_anew_divides_the_celebrities(celeb_df):
    clips = load_dataset(celeb_df, splits="own", val_share=0.34, test_share=0.34)
    check_no_leak(clips)
    for split in ("train", "val", "test"):
        assert {clip.label for clip in select(clips, split)} == {0, 1}
    assert len(clips) == 5 + 6 * 2 + 3 * 2  # three pairs of celebrities are left, in both directions


def test_dfdc_binds_a_forgery_to_its_original(tmp_path):
    records = {
        "aagfhgtpmv.mp4": {"label": "FAKE", "split": "train", "original": "vudstovrck.mp4"},
        "vudstovrck.mp4": {"label": "REAL", "split": "train", "original": None},
        "abarnvbtwb.mp4": {"label": "REAL", "split": "train"},
    }
    make_files(tmp_path, *(f"dfdc_train_part_0/{name}" for name in records))
    (tmp_path / "dfdc_train_part_0" / "metadata.json").write_text(json.dumps(records))
    for folder in (tmp_path, tmp_path / "dfdc_train_part_0"):  # all parts, or one
        assert find_source(folder).name == "dfdc"
        clips = {clip.path.name: clip for clip in load_dataset(folder)}
        assert clips["aagfhgtpmv.mp4"].group == clips["vudstovrck.mp4"].group != clips["abarnvbtwb.mp4"].group
        assert [clip.label for clip in clips.values()] == [1, 0, 0]


def make_asvspoof_2019(folder: Path) -> None:
    lines = {
        "train.trn": ["LA_0079 LA_T_1138215 - - bonafide", "LA_0080 LA_T_1004644 - A01 spoof"],
        "dev.trl": ["LA_0069 LA_D_1047731 - - bonafide", "LA_0070 LA_D_1105538 - A02 spoof"],
        "eval.trl": ["LA_0039 LA_E_2834763 - A11 spoof", "LA_0014 LA_E_1489111 - - bonafide"],
    }
    make_files(folder, "LA/ASVspoof2019_LA_cm_protocols/README.txt")
    for (ending, rows), part in zip(lines.items(), ("train", "dev", "eval"), strict=True):
        protocol = folder / "LA" / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{ending}.txt"
        protocol.write_text("\n".join(rows) + "\n")
        make_files(folder, *(f"LA/ASVspoof2019_LA_{part}/flac/{row.split()[1]}.flac" for row in rows))


def test_asvspoof_2019_keeps_its_partitions(tmp_path):
    make_asvspoof_2019(tmp_path)
    for folder in (tmp_path, tmp_path / "LA"):
        assert find_source(folder).name == "asvspoof2019"
        clips = {clip.path.stem: clip for clip in load_dataset(folder)}
        assert [(clip.split, clip.label) for clip in clips.values()] == [
            *(("train", 0), ("train", 1), ("val", 0), ("val", 1), ("test", 1), ("test", 0))
        ]
        assert clips["LA_E_2834763"].system == "A11"
        assert clips["LA_E_2834763"].group == "asvspoof/LA_0039"


def test_asvspoof_2021_is_a_test_set_with_the_speakers_of_2019(tmp_path):
    rows = {
        "LA": [
            "LA_0039 LA_E_9332881 alaw ita_tx A07 spoof notrim eval",
            "LA_0031 LA_E_6866159 gsm ita_tx bonafide bonafide notrim eval",
            "LA_0031 LA_E_5464494 gsm ita_tx A09 spoof trim hidden",
        ],
        "DF": ["LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim eval traditional_vocoder - - - -"],
    }
    for track, lines in rows.items():
        keys = tmp_path / "keys" / track / "CM"
        keys.mkdir(parents=True)
        (keys / "trial_metadata.txt").write_text("\n".join(lines) + "\n")
        make_files(tmp_path, *(f"ASVspoof2021_{track}_eval/flac/{line.split()[1]}.flac" for line in lines))
    assert find_source(tmp_path).name == "asvspoof2021"
    clips = {clip.path.stem: clip for clip in load_dataset(tmp_path)}
    assert clips.keys() == {"LA_E_9332881", "LA_E_6866159", "DF_E_2000011"}
    assert {clip.split for clip in clips.values()} == {"test"}
    assert (clips["LA_E_9332881"].system, clips["LA_E_6866159"].label) == ("A07", 0)
    make_asvspoof_2019(tmp_path / "2019")
    check_no_leak([*clips.values(), *load_dataset(tmp_path / "2019")])
    with pytest.raises(LeakError, match="asvspoof/LA_0039"):  # unless somebody trains on that speaker
        check_no_leak([*select(load_dataset(tmp_path, splits="own"), "train"), *load_dataset(tmp_path / "2019")])


def test_wavefake_groups_by_recording(tmp_path):
    make_files(tmp_path, *(f"LJSpeech-1.1/wavs/LJ00{n}-0001.wav" for n in range(1, 6)))
    make_files(tmp_path, *(f"generated_audio/ljspeech_melgan/LJ00{n}-0001_gen.wav" for n in range(1, 6)))
    make_files(
        tmp_path, "generated_audio/ljspeech_waveglow/LJ001-0001.wav", "jsut_ver1.1/basic5000/wav/BASIC5000_0001.wav"
    )
    make_files(tmp_path, "generated_audio/jsut_parallel_wavegan/BASIC5000_0001_gen.wav")
    tts = "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech"
    make_files(tmp_path, f"generated_audio/{tts}/gen_0.wav", f"generated_audio/{tts}/gen_1.wav")
    assert find_source(tmp_path).name == "wavefake"
    clips = load_dataset(tmp_path)
    groups: dict[str, set] = {}
    for clip in clips:
        groups.setdefault(clip.group, set()).add((clip.label, clip.system))
    assert groups["ljspeech/LJ001"] == {(0, ""), (1, "ljspeech_melgan"), (1, "ljspeech_waveglow")}
    assert groups["jsut/BASIC5000_0001"] == {(0, ""), (1, "jsut_parallel_wavegan")}
    assert {clip.split for clip in clips} == {"train", "val"}
    assert "generators" in describe(clips)


def test_in_the_wild_groups_by_speaker(tmp_path):
    rows = ["0.wav,Alec Guinness,spoof", "1.wav,Alec Guinness,bona-fide", "2.wav,Barack Obama,spoof"]
    (tmp_path / "meta.csv").write_text("\n".join(["file,speaker,label", *rows]) + "\n")
    make_files(tmp_path, "0.wav", "1.wav", "2.wav")
    assert find_source(tmp_path).name == "in-the-wild"
    clips = load_dataset(tmp_path)
    assert [clip.label for clip in clips] == [1, 0, 1]
    assert clips[0].group == clips[1].group == "in-the-wild/Alec Guinness"


def test_format_is_checked_and_partial_downloads_are_used(tmp_path, capsys):
    make_asvspoof_2019(tmp_path)
    (tmp_path / "LA" / "ASVspoof2019_LA_eval" / "flac" / "LA_E_2834763.flac").unlink()
    assert len(load_dataset(tmp_path)) == 5
    assert "1 of 6 listed files are not there" in capsys.readouterr().out
    with pytest.raises(DatasetError, match="'kaggle' is unknown; allowed: auto, manifest, faceforensics"):
        load_dataset(tmp_path, layout="kaggle")
    with pytest.raises(DatasetError, match="dfdc +dfdc_train_part_N/metadata.json"):
        load_dataset(tmp_path, layout="dfdc")
    with pytest.raises(DatasetError, match="no folder"):
        load_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("protocol", "problem"),
    [("LA_0079 LA_T_1138215 - bonafide", "line 1 has 4 columns"), ("LA_0079 LA_T_1 - - genuine", "label 'genuine'")],
)
def test_broken_protocol_is_refused_with_its_place(tmp_path, protocol, problem):
    make_asvspoof_2019(tmp_path)
    path = tmp_path / "LA" / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.train.trn.txt"
    path.write_text(protocol + "\n")
    with pytest.raises(DatasetError, match=problem):
        load_dataset(tmp_path)


def test_each_format_says_what_it_looks_for():
    assert list(FORMATS) == [source.name for source in FORMATS.values()]
    assert all(source.layout for source in FORMATS.values())
