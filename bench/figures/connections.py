"""`status` of many workers with many connections: the master's CPU, and how long its loop was held."""

import contextlib
import pathlib
import random
import resource
import socket
import threading
import time

from lab import Row, UnixHTTP, cpu_ns, eventually, folder, handover, median, parked, say

EACH = 10  # connections of a worker
CPU_MS_MAX = 50
HELD_MS_MAX = 5


def measure(quick):
    workers, rounds = (100, 5) if quick else (1000, 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with folder() as path:
        flags = ["--workers", str(workers), "--ready-timeout", "120s"]
        with handover([parked(path), "keep", str(EACH)], *flags) as service, Clients(service.port()) as clients:
            pid = service.pid()
            clients.open(workers * EACH)
            full = lambda: counted(service.status()) == workers * EACH
            time.sleep(3)  # they are accepted meanwhile; asking would be what is measured
            first = Asked(service, pid)  # nothing is known of anybody yet
            eventually("all are counted", full)
            same = [Asked(service, pid) for _ in range(rounds)]
            changed = []
            for _ in range(rounds):
                clients.renew(workers)
                eventually("all are accepted", full)
                clients.renew(workers)
                changed.append(Asked(service, pid))
            with Prober(service) as prober:
                for _ in range(rounds):
                    Asked(service, pid)
            right = all(one.connections == workers * EACH for one in same)
    say(f"first {first}; nothing changed {median([one.cpu_ms for one in same]):.1f} ms of CPU; a tenth renewed "
        f"{', '.join(str(one) for one in changed)}")
    limits = workers == 1000
    what = f"`status` of {workers:,} workers with {workers * EACH:,} connections, master's CPU"
    loop = max(one.loop_ms for one in [first, *same, *changed])
    rows = []
    for name, asked in (("the first", [first]), ("nothing changed since the last", same),
                        ("a tenth of the connections new since", changed)):
        cpu = median([one.cpu_ms for one in asked])
        rows.append(Row(f"{what}: {name}", f"{cpu:.1f} ms, at most {max(one.cpu_ms for one in asked):.1f}",
                        f"≤ {CPU_MS_MAX} ms", "", cpu <= CPU_MS_MAX and right if limits else None))
    rows.append(Row("the loop's share of it, at most", f"{loop:.1f} ms",
                    f"≤ {HELD_MS_MAX} ms", f"/healthz meanwhile: median {prober.median_ms():.1f} ms, at most "
                    f"{prober.worst_ms():.1f}", loop <= HELD_MS_MAX if limits else None))
    return rows


class Asked:
    """One `status`, later than any answer that could be used again, and what it cost."""

    def __init__(self, service, pid):
        time.sleep(1)
        before, loop = cpu_ns(pid), loop_ns(pid)
        status = service.status()
        self.cpu_ms, self.loop_ms = (cpu_ns(pid) - before) / 1e6, (loop_ns(pid) - loop) / 1e6
        self.connections = counted(status)

    def __str__(self):
        return f"{self.cpu_ms:.1f} ({self.loop_ms:.1f} of the loop)"


def loop_ns(pid):
    """Nanoseconds that the main thread, which is the loop, has been on a CPU."""
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def counted(status):
    held = [worker["connections"] for one in status["generations"] for worker in one["workers"]]
    return None if None in held else sum(held)


class Clients:
    """Connections that say nothing."""

    def __init__(self, port):
        self.port, self.all = port, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.all:
            one.close()

    def open(self, count):
        for _ in range(count):
            self.all.append(socket.create_connection(("127.0.0.1", self.port)))

    def renew(self, count):
        """Some go, here and there, and as many come."""
        random.shuffle(self.all)
        for one in self.all[:count]:
            one.close()
        del self.all[:count]
        self.open(count)


class Prober:
    """Asks /healthz all the time, over one connection: its answers wait while the loop is held."""

    def __init__(self, service):
        self.client, self.took, self.over = UnixHTTP(str(service.runtime / "control.sock")), [], threading.Event()
        self.thread = threading.Thread(target=self.probe)

    def probe(self):
        with contextlib.closing(self.client):
            while not self.over.wait(0.002):
                before = time.monotonic()
                self.client.request("GET", "/healthz")
                self.client.getresponse().read()
                self.took.append((time.monotonic() - before) * 1000)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def median_ms(self):
        return median(self.took)

    def worst_ms(self):
        return max(self.took)
