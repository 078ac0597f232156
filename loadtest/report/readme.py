"""Writes the benchmark table of a load test into the README, between two comments that nobody sees.

make loadtest-readme
python -m loadtest.report.readme build/loadtest/latest
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.measure.results import LoadTest
from loadtest.report.markdown import benchmark_table
from loadtest.report.page import RECORD
from operations.settings import PROJECT_DIR

BEGIN = "<!-- benchmarks: `make loadtest-readme` writes what stands between here and the end mark -->"
END = "<!-- end of the benchmarks -->"


def with_table(text: str, test: LoadTest) -> str:
    """The text with the table of this test in the place of the last one.

    Raises:
        ValueError: it has no place for it, or several.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"there must be one line `{BEGIN}` and below it one line `{END}`")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{benchmark_table(test)}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.report.readme", description="Write a load test's benchmark table into the README."
    )
    parser.add_argument("folder", type=Path, help="folder of a load test, such as build/loadtest/latest")
    parser.add_argument("--readme", type=Path, default=PROJECT_DIR / "README.md", help="file to change (%(default)s)")
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
    try:
        changed = with_table(args.readme.read_text(encoding="utf-8"), test)
    except (OSError, ValueError) as error:
        parser.error(f"{args.readme}: {error}")
    args.readme.write_text(changed, encoding="utf-8")
    print(f"{args.readme}: {len(test.rows)} rows of {test.machine.date}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
