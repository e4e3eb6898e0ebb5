"""Who closed a connection: the kernel's own trace of TCP states.

A worker that closes a connection, or dies with it, does so in its own process; the queue of a
listener is closed by whoever held the listener last. The tracepoint sock:inet_sock_set_state
names the process, costs nothing to the traced, and needs no debugger beside them.
"""

import bisect
import collections
import contextlib
import pathlib
import re
import subprocess

TRACING = pathlib.Path("/sys/kernel/tracing")
INSTANCE = TRACING / "instances" / "handover-bench"
# From ESTABLISHED to FIN_WAIT1 or CLOSE: the server closes first. From CLOSE_WAIT to LAST_ACK: after the client.
STATES = "(oldstate == 1 && (newstate == 4 || newstate == 7)) || (oldstate == 8 && newstate == 9)"
LINE = re.compile(r"^\s*(?P<comm>.*)-(?P<tid>\d+)\s+\[\d+\]\s+\S+\s+(?P<at>[\d.]+): .*dport=(?P<port>\d+) ")


class Closers:
    """Transitions on one server port, by the client's port."""

    def __init__(self):
        self.by_port = collections.defaultdict(list)

    def of(self, port, at_seconds):
        """The process whose close came last before this moment, else first after it: its name and thread."""
        closed = self.by_port.get(port, [])
        index = bisect.bisect_right(closed, (at_seconds + 0.005, "", 0))
        if not closed:
            return None
        _, comm, tid = closed[max(index - 1, 0)]
        return comm, tid


@contextlib.contextmanager
def closers(server_port):
    """Traces while the block runs; yields a Closers that is filled at its end, or None without permission."""
    mounted = False
    try:
        if not (TRACING / "events").exists():
            subprocess.run(["mount", "-t", "tracefs", "nodev", TRACING], check=True, capture_output=True)
            mounted = True
        INSTANCE.mkdir(exist_ok=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    found, event = Closers(), INSTANCE / "events" / "sock" / "inet_sock_set_state"
    try:
        (INSTANCE / "trace_clock").write_text("mono")
        (INSTANCE / "buffer_size_kb").write_text("16384")
        (event / "filter").write_text(f"sport == {server_port} && ({STATES})")
        (event / "enable").write_text("1")
        yield found
        (event / "enable").write_text("0")
        with (INSTANCE / "trace").open(encoding="ascii", errors="replace") as trace:
            for line in trace:
                if match := LINE.match(line):
                    entry = float(match["at"]), match["comm"], int(match["tid"])
                    found.by_port[int(match["port"])].append(entry)
    finally:
        (event / "enable").write_text("0")
        INSTANCE.rmdir()
        if mounted:
            subprocess.run(["umount", TRACING], check=False, capture_output=True)
