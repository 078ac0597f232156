"""A few spoken sentences, synthesized offline by eSpeak NG (PyPI `espeakng-loader`).

The library is driven over its C interface, `espeak-ng/speak_lib.h`; the
upper-case constants below carry the values of that header.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TEXT = (
    "Good morning. This is a short recording that the project makes for itself. "
    "The picture is a real photograph, but nobody ever said these words. "
    "A small program read them out, one sound after another, from a list of rules. "
    "Somewhere a kettle is boiling, and the rain has stopped for an hour or two. "
    "How many of you would notice, if the voice were only a little better? "
    "Listen to the pauses, to the breath that is missing, and to the even pitch. "
    "Then ask the detector what it thinks of it, and do not take its word for everything."
)

AUDIO_OUTPUT_SYNCHRONOUS = 2  # hand the samples over, and return when the last one is there
ESPEAK_INITIALIZE_DONT_EXIT = 0x8000
ESPEAK_RATE, ESPEAK_PITCH, ESPEAK_RANGE = 1, 3, 4
ESPEAK_CHARS_UTF8 = 1
POS_CHARACTER = 1

_ON_SAMPLES = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def synthesize(
    text: str = TEXT, *, voice: str = "en-us", words_per_minute: int = 165, pitch: int = 45, pitch_range: int = 55
) -> tuple[np.ndarray, int]:
    """Speech for a text, the same for the same arguments.

    Args:
        voice: name of an eSpeak NG voice. (Variants with breath, such as `en-us+f3`, differ from run to run.)
        pitch: base pitch, 0 to 100.
        pitch_range: liveliness of the intonation, 0 (monotone) to 100.

    Returns:
        Mono samples of shape (N,), float32 within -1..1, and their rate in Hz.

    Raises:
        RuntimeError: the library cannot be loaded, lacks its data, or has no such voice.
    """
    import espeakng_loader

    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        # A copy of its own for every call: globals left by an earlier text would change the sound of this one.
        library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
        _declare(library)
        # eSpeak NG 1.52 cuts its data path off at 160 characters without a word: hand it a short one.
        data = Path(folder) / "espeak-ng-data"
        data.symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
        rate_hz = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, bytes(data), ESPEAK_INITIALIZE_DONT_EXIT)
        if rate_hz <= 0:
            raise RuntimeError(f"eSpeak NG did not start with the data in {espeakng_loader.get_data_path()}")
        try:
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
            for parameter, value in (
                (ESPEAK_RATE, words_per_minute),
                (ESPEAK_PITCH, pitch),
                (ESPEAK_RANGE, pitch_range),
            ):
                library.espeak_SetParameter(parameter, value, 0)
            samples = _speak(library, text)
        finally:
            library.espeak_Terminate()
    if not samples.any():
        raise RuntimeError("eSpeak NG returned no sound")
    return samples, rate_hz


def _declare(library: ctypes.CDLL) -> None:
    c_int, c_uint, c_char_p, c_void_p = ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_void_p
    library.espeak_Initialize.argtypes = [c_int, c_int, c_char_p, c_int]
    library.espeak_SetVoiceByName.argtypes = [c_char_p]
    library.espeak_SetParameter.argtypes = [c_int, c_int, c_int]
    library.espeak_SetSynthCallback.argtypes = [_ON_SAMPLES]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_Synth.argtypes = [c_char_p, ctypes.c_size_t, c_uint, c_int, c_uint, c_uint, c_void_p, c_void_p]


def _speak(library: ctypes.CDLL, text: str) -> np.ndarray:
    """Samples (N,) float32 of the whole text."""
    blocks: list[np.ndarray] = []

    @_ON_SAMPLES  # type: ignore[untyped-decorator]
    def keep(samples: Any, n_samples: int, _events: int) -> int:
        if samples and n_samples > 0:
            blocks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        return 0  # 0 means go on

    library.espeak_SetSynthCallback(keep)
    raw = text.encode()
    library.espeak_Synth(raw, len(raw) + 1, 0, POS_CHARACTER, 0, ESPEAK_CHARS_UTF8, None, None)
    return np.concatenate(blocks or [np.zeros(0, np.int16)]).astype(np.float32) / 32768
