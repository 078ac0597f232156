"""Puts what `make peers` measured into docs/peers.md, between the markers that name it.

python -m loadtest.peers.publish [--results DIR] [--document FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.peers.report import RESULTS_FILE, TABLE_FILE
from loadtest.peers.workload import PROJECT_DIR

RUNTIMES_TABLE = "runtimes.md"  # training/runtimes.py leaves it beside ours
SECTIONS = {"servers": TABLE_FILE, "runtimes": RUNTIMES_TABLE}


class PublishError(ValueError):
    """There is nothing fit to publish, or no place for it."""


def filled(document: str, section: str, table: str) -> str:
    """The document with the table between `<!-- section: begin -->` and `<!-- section: end -->`.

    Raises:
        PublishError: it does not hold exactly these two markers, in this order.
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    if document.count(begin) != 1 or document.count(end) != 1 or document.index(begin) > document.index(end):
        raise PublishError(f"the document needs one {begin} and, after it, one {end}")
    return f"{document.partition(begin)[0]}{begin}\n\n{table.strip()}\n\n{end}{document.partition(end)[2]}"


def publish(results: Path, document: Path) -> list[str]:
    """Fills in every section that was measured; returns their names.

    Raises:
        PublishError: nothing was measured, or a row is not valid.
    """
    found = {section: results / name for section, name in SECTIONS.items() if (results / name).exists()}
    if not found:
        raise PublishError(f"nothing was measured in {results}; run `make peers`")
    if (results / RESULTS_FILE).exists():
        standings = json.loads((results / RESULTS_FILE).read_text())["standings"]
        if invalid := [f"{entry['candidate']} with {entry['model']}" for entry in standings if entry["problem"]]:
            raise PublishError(f"not valid: {', '.join(invalid)}; see {results / TABLE_FILE}")
    text = document.read_text()
    for section, table in found.items():
        text = filled(text, section, table.read_text())
    document.write_text(text)
    return list(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers.publish", description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=PROJECT_DIR / "build" / "peers", metavar="DIR")
    parser.add_argument("--document", type=Path, default=PROJECT_DIR / "docs" / "peers.md", metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        sections = publish(options.results, options.document)
    except PublishError as error:
        print(f"loadtest.peers.publish: {error}", file=sys.stderr)
        return 1
    print(f"{options.document}: {', '.join(sections)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
