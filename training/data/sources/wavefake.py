"""WaveFake (Frank and Schönherr, NeurIPS 2021), with the recordings that it was made from.

    generated_audio/ljspeech_melgan/LJ001-0001_gen.wav    also ljspeech_hifiGAN, jsut_parallel_wavegan, ...
    generated_audio/common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/gen_0.wav
    LJSpeech-1.1/wavs/LJ001-0001.wav                      real, one speaker
    jsut_ver1.1/basic5000/wav/BASIC5000_0001.wav          real, another

There are two speakers in all. The group is the recording: LJSpeech's book chapter (LJ001), JSUT's sentence. A figure on
this set says how well vocoders are told from the voice they copy, not how well unknown people are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.data.clip import Clip
from training.data.sources.source import Source

GENERATED = "generated_audio"
REAL = ("LJSpeech*/wavs/*.wav", "jsut*/basic5000/wav/*.wav")


def read(folder: Path) -> Iterator[Clip]:
    """The recordings and what the vocoders made of them."""
    for pattern in REAL:
        for path in sorted(folder.glob(pattern)):
            corpus = "LJSpeech" if path.name.startswith("LJ") else "JSUT"
            yield Clip(path, 0, _recording(path), "", source=corpus)
    for system in sorted(path for path in (folder / GENERATED).iterdir() if path.is_dir()):
        for path in sorted(system.rglob("*.wav")):
            yield Clip(path, 1, _recording(path), "", source="WaveFake", system=system.name)


def _recording(path: Path) -> str:
    sentence = path.stem.removesuffix("_gen")
    if sentence.startswith("LJ"):
        return f"ljspeech/{sentence.partition('-')[0]}"
    return f"jsut/{sentence}" if sentence.startswith("BASIC") else f"wavefake/{path.parent.name}/{sentence}"


WAVEFAKE = Source(
    "wavefake",
    "generated_audio/VOCODER/*.wav beside LJSpeech-1.1/wavs/ and jsut_ver1.1/basic5000/wav/",
    lambda folder: (folder / GENERATED).is_dir(),
    read,
)
