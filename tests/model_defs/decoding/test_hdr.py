"""HDR pictures come out as their SDR twins: the codes of BT.709, and the verdict."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from model_defs.decoding.hdr import HLG, LUMA_2020, PQ, SDR_GAMMA, TO_709, WHITE_CD_M2
from model_defs.decoding.media import Media
from model_defs.inference.engine import Item, load_engine
from model_defs.inference.options import DetectOptions
from samples.clip import make_sample
from tests.clips import write_clip

BT_2020, BT_2020_NCL = 9, 9


def graded(picture: np.ndarray, transfer: int) -> np.ndarray:
    """An SDR picture (H, W, 3) uint8 as HDR codes, 0 to 1: white at 203 cd/m², BT.2020 primaries."""
    light = (picture / 255.0) ** SDR_GAMMA @ np.linalg.inv(TO_709).T
    cd_m2 = np.clip(light, 0, None) * WHITE_CD_M2
    if transfer == PQ:  # the inverse EOTF of SMPTE ST 2084
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = (cd_m2 / 1e4) ** m1
        return ((c1 + c2 * power) / (1 + c3 * power)) ** m2
    shown = cd_m2 / 1000  # ITU-R BT.2100: the inverse OOTF, then the OETF
    luma = np.maximum(shown @ LUMA_2020, 1e-9)[..., None]
    scene = shown * luma ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def write_hdr(pictures: list[np.ndarray], transfer: int, fps: int = 10) -> bytes:
    """A clip of HEVC, 10 bits, nearly without loss."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        options = {"preset": "ultrafast", "x265-params": "log-level=none:crf=4:keyint=10"}
        stream = output.add_stream("libx265", rate=fps, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, BT_2020, BT_2020_NCL
        context.color_range = 1
        for index, picture in enumerate(pictures):
            codes = np.round(graded(picture, transfer) * 65535).clip(0, 65535).astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(codes, format="rgb48le").reformat(
                format="yuv420p10le", dst_colorspace=BT_2020_NCL, dst_color_range=1
            )
            frame.color_trc, frame.color_primaries = transfer, BT_2020
            frame.pts, frame.time_base = index, Fraction(1, fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[np.ndarray]:
    path = tmp_path_factory.mktemp("hdr") / "face.mp4"
    make_sample(path, duration_s=2.0, width=480, height=360, fps=5, audio_codec=None)
    with Media(path) as media:
        return [frame.image for frame in media.frames(n_frames=10)]


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_comes_out_as_its_sdr_twin(pictures, transfer: int):
    with Media(write_hdr(pictures, transfer)) as media:
        frames = media.frames(n_frames=10)
    assert len(frames) >= 9
    for frame in frames:
        twin = pictures[round(frame.time_s * 10)]
        assert np.abs(frame.image.astype(int) - twin).mean() < 3  # 10 bits, 4:2:0, and the roll-off of whites


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_moves_no_verdict(artifacts_dir, pictures, transfer: int):
    engine = load_engine({"video": artifacts_dir / "video"}, name="video", device="cpu", variant="fp32", cache=None)
    options = DetectOptions("video")
    height, width = pictures[0].shape[:2]
    sdr = write_clip(images=pictures, size=(width, height), fps=10, gop=10, options={"crf": "4"})
    answers = engine.detect_batch([Item(data, options=options) for data in (sdr, write_hdr(pictures, transfer))])
    p_fakes = [answer["probabilities"]["fake"] for answer in answers]
    assert abs(p_fakes[0] - p_fakes[1]) < 0.05
