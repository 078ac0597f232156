"""Writes what a load test measured into the documents, between comments that nobody sees.

make loadtest-readme
python -m loadtest.report.readme build/loadtest/latest

docs/results.md gets the benchmark table, README.md a sentence with the latencies and how many targets hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.measure.results import LoadTest
from loadtest.report.markdown import benchmark_table, latency_sentence
from loadtest.report.page import RECORD
from operations.settings import PROJECT_DIR


@dataclass(frozen=True)
class Place:
    """A part of a document that a measurement fills.

    Attributes:
        page: path below the project's folder.
        begin, end: the comments that it stands between.
    """

    page: str
    begin: str
    end: str

    def filled(self, text: str, written: str) -> str:
        """The document with what was written in the place of the last one.

        Raises:
            ValueError: it has no such place, or several.
        """
        if text.count(self.begin) != 1 or text.count(self.end) != 1 or text.index(self.begin) > text.index(self.end):
            raise ValueError(f"there must be one line `{self.begin}` and below it one line `{self.end}`")
        before, _, rest = text.partition(self.begin)
        _, _, after = rest.partition(self.end)
        return f"{before}{self.begin}\n\n{written}\n{self.end}{after}"


END = "<!-- end of the load test -->"
TABLE = Place(
    "docs/results.md", "<!-- benchmark table: `make loadtest-readme` writes it, down to the end mark -->", END
)
SENTENCE = Place("README.md", "<!-- latencies: `make loadtest-readme` -->", END)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.report.readme",
        description="Write a load test's benchmark table into docs/results.md, its latencies into README.md.",
    )
    parser.add_argument("folder", type=Path, help="folder of a load test, such as build/loadtest/latest")
    parser.add_argument("--root", type=Path, default=PROJECT_DIR, help="of the documents to change (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="also of a quick run, whose figures are rough")
    args = parser.parse_args(argv)
    try:
        test = LoadTest.load(args.folder / RECORD)
    except (OSError, ValueError, TypeError, KeyError) as error:
        parser.error(f"{args.folder / RECORD} cannot be read: {error}; `make loadtest` writes it")
    if not test.rows:
        parser.error(f"{args.folder / RECORD} holds no benchmark rows")
    if test.quick and not args.quick:
        parser.error("that was a quick run, not fit to be published: run `make loadtest`, or say --quick")
    changed = {}
    for place, written in ((TABLE, benchmark_table(test)), (SENTENCE, latency_sentence(test))):
        path = args.root / place.page
        try:
            changed[path] = place.filled(path.read_text(encoding="utf-8"), written)
        except (OSError, ValueError) as error:
            parser.error(f"{path}: {error}")
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(test.rows)} rows of {test.machine.date}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
