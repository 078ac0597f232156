"""Has the models behind a proxy judge the sample clip, as one of its clients: the last word on a new installation.

python -m operations.smoke http://deepdetect:80 --clients /etc/deepdetect-clients/clients.map --model ensemble
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from client.errors import ClientError, KeyRefused
from client.inference import HttpClient
from client.keys import FixedKeys
from operations.serve import SAMPLE


def first_key(clients: Path) -> FixedKeys:
    """The key in the first line of a clients.map.

    Raises:
        KeyRefused: there is none.
    """
    found = re.search(r'^"Bearer ([^"]+)" ', clients.read_text(), flags=re.MULTILINE)
    if not found:
        raise KeyRefused(f'{clients} has no client; a line is: "Bearer KEY" NAME;')
    return FixedKeys(found[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m operations.smoke", description="Have models behind a proxy judge the sample clip."
    )
    parser.add_argument("address", help="of the proxy, such as http://deepdetect:80")
    parser.add_argument("--clients", type=Path, required=True, help="its clients.map; the first key in it is used")
    parser.add_argument("--model", action="append", required=True, help="may be given more than once")
    args = parser.parse_args(argv)
    try:
        client = HttpClient(args.address, keys=first_key(args.clients))
        for model in args.model:
            body = client.predict(model, SAMPLE.read_bytes(), file_name=SAMPLE.name).body
            if "error" in body:
                raise ClientError(f"{model}: {body['error']['message']}")
            print(f"{model}: {body['prediction']}, p_fake {body['probabilities']['fake']:.4f}")
    except (ClientError, OSError) as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
