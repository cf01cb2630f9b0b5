"""`make bench`: what Held costs, as ratios to floors measured in the same run, each with its threshold.

The contenders of a line take turns in every round, so that a busy machine slows all of them; ratios are taken
within a round, and their median is judged. Prints a table; --json FILE writes the same figures.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.load.appending import appending_lines
from tests.load.bench_server import BenchServer, bench_server
from tests.load.deciding import deciding_lines
from tests.load.measuring import Line, as_json, table_head, table_lines
from tests.load.reading import reading_lines
from tests.load.syncing import sync_lines
from tests.load.taking_in import intake_lines, large_extract_lines

OverHttp = Callable[[BenchServer], Awaitable[list[Line]]]
InProcess = Callable[[Path], Awaitable[list[Line]]]

OVER_HTTP: dict[str, OverHttp] = {
    "reading": reading_lines,
    "intake": intake_lines,
    "large": large_extract_lines,
    "syncing": sync_lines,
}
IN_PROCESS: dict[str, InProcess] = {"appending": appending_lines, "deciding": deciding_lines}


async def run(chosen: set[str]) -> list[Line]:
    """Measures the chosen groups of lines, printing each as it is known. Each has a database of its own."""
    lines: list[Line] = []
    print(table_head(), flush=True)
    for name, measure in OVER_HTTP.items():
        if name in chosen:
            with tempfile.TemporaryDirectory(prefix="held-bench-") as folder:
                async with bench_server(Path(folder)) as server:
                    lines += _told(await measure(server))
    for name, measure_here in IN_PROCESS.items():
        if name in chosen:
            with tempfile.TemporaryDirectory(prefix="held-bench-") as folder:
                lines += _told(await measure_here(Path(folder)))
    return lines


def main() -> int:
    """1 when a line fails."""
    names = [*OVER_HTTP, *IN_PROCESS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--only", action="append", choices=names, help="measure one group of lines")
    arguments = parser.parse_args()
    lines = asyncio.run(run(set(arguments.only or names)))
    if arguments.json is not None:
        figures = {
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "lines": [as_json(line) for line in lines],
        }
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    failed = [line.measure for line in lines if line.verdict == "FAIL"]
    print(f"\n{len(lines)} lines, {len(failed)} failed" + "".join(f"\n  FAIL {one}" for one in failed))
    return 1 if failed else 0


def _told(lines: list[Line]) -> list[Line]:
    for line in lines:
        print(table_lines(line), flush=True)
    return lines


if __name__ == "__main__":
    sys.exit(main())
