"""Time that an upgrade takes beyond the program's own start and the bake."""

import time

from lab import Row, folder, handover, median, notes, parked, say

BAKE_MS = 100


def measure(quick):
    count = 5 if quick else 30
    with folder() as path:
        log = path / "notes"
        flags = ["--bake", f"{BAKE_MS}ms"]
        overheads = []
        with handover([parked(path), "accept"], *flags, env={"BENCH_LOG": str(log)}) as service:
            for old in range(1, count + 1):
                asked = time.monotonic_ns()
                service.upgrade("--drained")
                noted = notes(log)
                own = noted[old + 1, "waits"] - noted[old + 1, "exec"]
                told = noted[old, "term"] - asked
                overheads.append((told - own) / 1e6 - BAKE_MS)
    say(f"overheads in ms: {', '.join(f'{one:.1f}' for one in overheads)}")
    middle = median(overheads)
    return [Row("upgrade: command to old one told, without start and bake",
                f"median {middle:.1f} ms, max {max(overheads):.1f} ms", "≤ 15 ms", "", middle <= 15)]
