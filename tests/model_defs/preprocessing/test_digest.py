from __future__ import annotations

import shutil

from model_defs.preprocessing import digest


def test_every_module_of_the_rooms_counts_wherever_it_lies_and_no_network_does():
    names = {path.relative_to(digest.PACKAGE_DIR).as_posix() for path in digest.preprocessing_sources()}
    on_the_way = {"decoding/containers.py", "decoding/demux.py", "decoding/sampling.py", "decoding/video.py"}
    assert names >= on_the_way | {"preprocessing/face_crop.py", "preprocessing/audio_features.py", "spec.py"}
    assert not any(name.startswith(("networks/", "inference/", "caching/", "explanation/")) for name in names)


def test_a_change_in_a_module_of_a_sub_folder_or_in_a_library_is_another_digest(tmp_path, monkeypatch):
    package = tmp_path / "model_defs"
    shutil.copytree(digest.PACKAGE_DIR, package)
    monkeypatch.setattr(digest, "PACKAGE_DIR", package)
    before = digest.preprocessing_digest.__wrapped__()
    assert before == digest.preprocessing_digest.__wrapped__()

    nested = package / "decoding" / "formats" / "telephony.py"
    nested.parent.mkdir()
    nested.write_text("RATE_HZ = 8_000\n")
    with_nested = digest.preprocessing_digest.__wrapped__()
    assert with_nested != before

    (package / "networks" / "registry.py").write_text("# another network\n")
    assert digest.preprocessing_digest.__wrapped__() == with_nested

    monkeypatch.setattr(digest, "version", lambda library: "0")
    assert digest.preprocessing_digest.__wrapped__() != with_nested
