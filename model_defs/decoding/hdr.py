"""HDR pictures as a viewer of SDR would see them: PQ and HLG in BT.2020 to BT.709.

Without this the codes are taken for those of BT.709: PQ then looks grey and flat, and a network that learned from SDR
judges the grading and not the face. All by tables and one matrix, so that no filter of libav is needed.

    codes ──table──> cd/m² ──matrix──> BT.709 primaries ──scale, roll-off──> 0..1 ──table──> codes
"""

from __future__ import annotations

from functools import cache

import av
import numpy as np
from av.video.reformatter import ColorTrc, VideoReformatter

PQ, HLG = int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)
HDR_TRANSFERS = (PQ, HLG)
WHITE_CD_M2 = 203.0  # diffuse white, ITU-R BT.2408
HLG_PEAK_CD_M2 = 1_000.0  # of the display that HLG's system gamma of 1.2 is meant for, ITU-R BT.2100
SDR_GAMMA = 2.4  # ITU-R BT.1886
KNEE = 0.97  # of white: what is darker stays as it is, to the brightest skin; what is brighter is rolled off
N_CODES = 2**12  # entries of a table; finer than the 10 bits that HDR is stored in
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)  # ITU-R BT.2020
# BT.2020 to BT.709 primaries in linear light, ITU-R BT.2087.
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


class ToneMapper:
    """Converts HDR frames of one track."""

    def __init__(self, reformatter: VideoReformatter) -> None:
        self._reformatter = reformatter

    def to_sdr(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """An HDR frame (`color_trc` in `HDR_TRANSFERS`) as BT.709, (height, width, 3) uint8 RGB."""
        codes = self._reformatter.reformat(frame, width, height, format="rgb48le", threads=1).to_ndarray()
        table = _light_table(int(frame.color_trc))
        light = table[codes >> 4]  # (H, W, 3), 1 is diffuse white
        if int(frame.color_trc) == HLG:
            light = _displayed(light)
        if int(frame.color_primaries) in (2, 9):  # BT.2020, or nothing said: nobody grades HDR for less
            light = light @ TO_709.T
        return _code_table()[np.clip(_rolled_off(light) * (N_CODES - 1) + 0.5, 0, N_CODES - 1).astype(np.uint16)]


@cache
def _light_table(transfer: int) -> np.ndarray:
    """Linear light of every code, (N_CODES,) float32: for PQ displayed light over `WHITE_CD_M2`, for HLG that of the
    scene, 0 to 1."""
    codes = np.arange(N_CODES) / (N_CODES - 1)
    if transfer == PQ:  # SMPTE ST 2084
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = codes ** (1 / m2)
        return (1e4 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) / WHITE_CD_M2).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073  # ITU-R BT.2100, table 5
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12).astype(np.float32)


def _displayed(scene: np.ndarray) -> np.ndarray:
    """HLG's light of the scene as its reference display shows it, 1 at `WHITE_CD_M2`."""
    luma = np.maximum(scene @ LUMA_2020, 1e-6)
    return scene * (luma**0.2 * (HLG_PEAK_CD_M2 / WHITE_CD_M2))[..., None]


def _rolled_off(light: np.ndarray) -> np.ndarray:
    """Light within 0..1: the same gain for all three colours of a pixel, so that no hue turns as it gets brighter."""
    peak = light.max(axis=-1, keepdims=True)
    over = np.maximum(peak - KNEE, 0) / (1 - KNEE)
    squeezed = np.where(peak > KNEE, KNEE + (1 - KNEE) * over / (1 + over), peak)
    return np.clip(light * (squeezed / np.maximum(peak, 1e-6)), 0, 1)


@cache
def _code_table() -> np.ndarray:
    """8-bit codes of light 0..1, (N_CODES,) uint8."""
    return np.round(255 * (np.arange(N_CODES) / (N_CODES - 1)) ** (1 / SDR_GAMMA)).astype(np.uint8)
