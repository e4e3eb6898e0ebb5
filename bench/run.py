#!/usr/bin/env python3
"""Every figure of the project in one table: measured, what it must reach, its peers.

    bench/run.py [--quick] [FIGURE…]

Only 127.0.0.1, only temporary directories, and only processes that it started
itself. Figures are ratios and counts taken side by side in one run: numbers of
two runs on a shared machine do not compare.
"""

import argparse
import os
import sys
import time
import traceback

from figures import apps, build, connections, idle, mixed, overhead, readiness, start, steps, tail, thousand
from lab import HANDOVER, LOAD, RUST_SERVER, Row

FIGURES = {
    "mixed": mixed, "steps": steps, "apps": apps, "overhead": overhead, "readiness": readiness, "tail": tail,
    "idle": idle, "thousand": thousand, "connections": connections, "start": start, "build": build,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: two minutes")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    options = parser.parse_args()
    unknown = [name for name in options.figures if name not in FIGURES]
    if unknown:
        parser.error(f"no figure {unknown[0]}; there are {', '.join(FIGURES)}")
    for program in (HANDOVER, LOAD, RUST_SERVER):
        if not os.path.exists(program):
            parser.error(f"{program} is missing: make bench-build")
    started, rows = time.monotonic(), []
    for name in options.figures or FIGURES:
        print(f"{name}: {FIGURES[name].__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
        try:
            rows += FIGURES[name].measure(options.quick)
        except Exception as error:  # the other figures are still wanted
            traceback.print_exc()
            rows.append(Row(name, f"failed: {error}", "", "", False))
    show(rows)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{time.monotonic() - started:.0f} s on {os.cpu_count()} cores, load average {load}"
          f"{'; quick: small numbers, for a first look only' if options.quick else ''}")
    return 1 if any(row.ok is False for row in rows) else 0


def show(rows):
    head = Row("figure", "measured", "must reach", "peers in the same run")
    print(f"| {head.figure} | {head.measured} | {head.must} | {head.peers} | |\n|---|---|---|---|---|")
    words = {True: "ok", False: "MISSED", None: ""}
    for row in rows:
        print(f"| {row.figure} | {row.measured} | {row.must} | {row.peers} | {words[row.ok]} |")


if __name__ == "__main__":
    sys.exit(main())
