"""The master at rest: memory and wake-ups, beside other managers' masters."""

import contextlib
import os
import time

from lab import (ROOT, RUST_SERVER, Row, answers, eventually, folder, free_port, handover,
                 have, memory_kib, running, server_starter, wakeups)

MIB = 1024


def measure(quick):
    settle, seconds = (2, 5) if quick else (10, 30)
    os.sync()  # pages of a program that was just built are dirty until they are written
    with handover([RUST_SERVER]) as service:
        pid = service.pid()
        time.sleep(settle)
        # Half-way between two of its steady looks: at the edge of one it is chance on which side it counts.
        first = wakeups(pid)
        with contextlib.suppress(TimeoutError):
            eventually("it looks at its listeners", lambda: wakeups(pid) > first, 3)
        time.sleep(0.5)
        before = wakeups(pid)
        time.sleep(seconds)
        woken = (wakeups(pid) - before) / seconds
        pss, dirty = memory_kib(pid)
    peers = ", ".join(f"{name} {kib / MIB:.1f}" for name, kib in others())
    return [
        Row("idle master, PSS", f"{pss / MIB:.2f} MiB", "≤ 4 MiB", peers, pss <= 4 * MIB),
        Row("idle master, anonymous + dirty", f"{dirty / MIB:.2f} MiB", "≤ 1 MiB", "", dirty <= MIB),
        Row("idle master, wake-ups", f"{woken:.2f} a second", "≤ 1 a second", "", woken <= 1),
    ]


def others():
    """PSS of other masters with one worker each."""
    if have("start_server"):
        with server_starter([RUST_SERVER]) as (process, _, _):
            yield "Server::Starter", memory_kib(process.pid)[0]
    if nginx := have("nginx"):
        with folder() as path, contextlib.ExitStack() as stack:
            port = free_port()
            text = (ROOT / "bench" / "apps" / "nginx.conf.in").read_text()
            for name, value in (("DIR", path), ("ID", "1"), ("PORT", port), ("BACKEND", port)):
                text = text.replace(f"@{name}@", str(value))
            (path / "nginx.conf").write_text(text)
            words = [nginx, "-e", path / "early.log", "-p", path, "-c", path / "nginx.conf", "-g", "daemon off;"]
            process = stack.enter_context(running(words))
            eventually("nginx serves", lambda: answers(port))
            yield "nginx", memory_kib(process.pid)[0]
