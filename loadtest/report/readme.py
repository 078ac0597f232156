"""Writes what a load test measured into the documents, between comments that nobody sees.

make loadtest-readme
python -m loadtest.report.readme build/loadtest/latest

docs/results.md gets the benchmark table, README.md a sentence with the latencies and how many targets hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.measure.results import LoadTest
from loadtest.report.markdown import benchmark_table, latency_sentence
from loadtest.report.page import RECORD
from operations.settings import PROJECT_DIR

END = "<!-- end of the load test -->"


@dataclass(frozen=True)
class Place:
    """A part of a document that a load test fills.

    Attributes:
        page: path below the project's folder.
        begin: the comment that it stands below.
        written: makes its text.
    """

    page: str
    begin: str
    written: Callable[[LoadTest], str]

    def filled(self, text: str, test: LoadTest) -> str:
        """The document with this test in the place of the last one.

        Raises:
            ValueError: it has no such place, or several.
        """
        if text.count(self.begin) != 1 or text.count(END) != 1 or text.index(self.begin) > text.index(END):
            raise ValueError(f"there must be one line `{self.begin}` and below it one line `{END}`")
        before, _, rest = text.partition(self.begin)
        _, _, after = rest.partition(END)
        return f"{before}{self.begin}\n\n{self.written(test)}\n{END}{after}"


TABLE = Place(
    "docs/results.md",
    "<!-- benchmark table: `make loadtest-readme` writes it, down to the end mark -->",
    benchmark_table,
)
SENTENCE = Place("README.md", "<!-- latencies: `make loadtest-readme` -->", latency_sentence)


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
    for place in (TABLE, SENTENCE):
        path = args.root / place.page
        try:
            changed[path] = place.filled(path.read_text(encoding="utf-8"), test)
        except (OSError, ValueError) as error:
            parser.error(f"{path}: {error}")
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(test.rows)} rows of {test.machine.date}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
