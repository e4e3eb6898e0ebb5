"""A master with a thousand workers: memory, and CPU of an upgrade of them all."""

from lab import Row, cpu_ns, folder, handover, memory_kib, parked, say


def measure(quick):
    workers = 100 if quick else 1000
    with folder() as path:
        flags = ["--workers", str(workers), "--ready-timeout", "120s", "--bake", "200ms"]
        with handover([parked(path), "accept"], *flags) as service:
            pid = service.pid()
            pss, _ = memory_kib(pid)
            before = cpu_ns(pid)
            service.upgrade("--drained")
            each_ms = (cpu_ns(pid) - before) / 1e6 / workers
            after, _ = memory_kib(pid)
    say(f"PSS {pss / 1024:.1f} MiB, after an upgrade {after / 1024:.1f} MiB")
    limit = 24 if workers == 1000 else None
    return [
        Row(f"master of {workers} workers, PSS", f"{max(pss, after) / 1024:.1f} MiB",
            "≤ 24 MiB (1,000)", "", max(pss, after) <= limit * 1024 if limit else None),
        Row(f"upgrade of {workers} workers, master's CPU", f"{each_ms:.2f} ms a worker", "≤ 1 ms", "",
            each_ms <= 1),
    ]
