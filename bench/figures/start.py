"""Time from `handover run` to the first worker's execve."""

import time

from lab import Row, folder, handover, median, notes, parked, say


def measure(quick):
    count = 10 if quick else 50
    took = []
    with folder() as path:
        program = parked(path)
        for number in range(count):
            log = path / f"notes-{number}"
            started = time.monotonic_ns()
            with handover([program, "accept"], env={"BENCH_LOG": str(log)}):
                took.append((notes(log)[1, "exec"] - started) / 1e6)
    say(f"ms: {', '.join(f'{one:.1f}' for one in took)}")
    middle = median(took)
    return [Row("run to the worker's first instruction", f"median {middle:.1f} ms, max {max(took):.1f} ms",
                "≤ 10 ms", "", middle <= 10)]
