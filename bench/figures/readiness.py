"""Time from a worker's first wait on its listener to "ready", and what watching costs."""

import time

from lab import Row, cpu_ns, folder, handover, median, notes, parked, say


def measure(quick):
    return [*latency(quick), cost(quick)]


def latency(quick):
    # Without a bake the old worker is told at the moment in which the new one is ready, so the
    # time from "waits" to the old one's TERM is an upper bound that needs no clock of the master.
    count = 5 if quick else 30
    rows = []
    with folder() as path:
        program = parked(path)
        for name, words in (("accept", ["accept"]), ("epoll, 16 threads", ["epoll", "15"])):
            log = path / f"notes-{words[0]}"
            with handover([program, *words], "--bake", "0s", env={"BENCH_LOG": str(log)}) as service:
                for _ in range(count):
                    service.upgrade("--drained")
            noted = notes(log)
            took = [(noted[old, "term"] - noted[old + 1, "waits"]) / 1e6 for old in range(1, count + 1)]
            say(f"{name}, ms: {', '.join(f'{one:.1f}' for one in took)}")
            middle = median(took)
            rows.append(Row(f"first wait to ready ({name})",
                            f"median {middle:.1f} ms, max {max(took):.1f} ms", "≤ 10 ms", "", middle <= 10))
    return rows


def cost(quick):
    seconds, workers = (3, 8) if quick else (15, 8)
    with folder() as path:
        command = [parked(path), "never", "15"]
        flags = ["--workers", workers, "--ready-timeout", "50s"]
        with handover(command, *map(str, flags), ready=False) as service:
            pid = service.pid()
            time.sleep(1)  # what the launch itself costs is over
            before = cpu_ns(pid)
            time.sleep(seconds)
            used = (cpu_ns(pid) - before) / 1e9 / seconds * 100
    return Row(f"watching {workers} starting workers of 16 threads", f"{used:.2f} % of a core", "≤ 2 %",
               "", used <= 2)
