from __future__ import annotations

from model_defs import preprocessing


def test_every_module_from_file_to_tensor_counts_and_no_network_does():
    names = {path.stem for path in preprocessing.preprocessing_sources()}
    on_the_way = {"containers", "demux", "sampling", "video_decode", "audio_decode", "face_track", "face_crop"}
    assert names >= on_the_way | {"media", "faces", "video_input", "audio_input", "audio_features", "spec"}
    assert not names & {"video_net", "audio_net", "weights", "artifact", "calibration", "fusion", "cache", "engine"}


def test_a_change_in_the_code_or_in_a_library_is_another_digest(tmp_path, monkeypatch):
    before = preprocessing.preprocessing_digest.__wrapped__()
    assert before == preprocessing.preprocessing_digest.__wrapped__()
    changed = []
    for path in preprocessing.preprocessing_sources():
        copy = tmp_path / path.name
        copy.write_text(path.read_text() + ("\n# changed\n" if path.stem == "face_crop" else ""))
        changed.append(copy)
    with monkeypatch.context() as patch:
        patch.setattr(preprocessing, "preprocessing_sources", lambda: changed)
        assert preprocessing.preprocessing_digest.__wrapped__() != before
    monkeypatch.setattr(preprocessing, "version", lambda library: "0")
    assert preprocessing.preprocessing_digest.__wrapped__() != before
