"""Requests lost while a canary stands and is aborted, and while the number of workers changes."""

import contextlib
import pathlib

from lab import HANDOVER, RUST_SERVER, Row, eventually, handover, kinds, load, say, shell


def measure(quick):
    return [canary(quick), scaling(quick)]


def canary(quick):
    stands = 2 if quick else 10
    with handover([RUST_SERVER], "--workers", "10") as service:
        abort = [HANDOVER, "abort", "--runtime-dir", str(service.runtime)]
        command = f"{shell(service.upgrade_command('--canary', '1'))} && sleep {stands} && {shell(abort)}"
        result = load(service.port(), command=command, count=1)
        number = service.status()["generation"]
    ok = result["failed"] == 0 and result["commands_failed"] == 0 and number == 1
    say(f"canary: {result['requests']} requests, {result['failed']} failed; {kinds(result)}")
    spread = len(result["generations"])
    return Row(f"lost requests, canary 1 of 10, aborted after {stands} s",
               f"{result['failed']} of {result['requests']}", "0", f"{spread} generations answered", ok)


def scaling(quick):
    rounds, top = (2, 10) if quick else (10, 50)
    with handover([RUST_SERVER]) as service:
        scale = lambda workers: shell([HANDOVER, "scale", "--runtime-dir", str(service.runtime), str(workers)])
        command = f"{scale(top)} && {scale(1)}"
        result = load(service.port(), command=command, every="2s", count=rounds)
        pid = service.pid()
        left = children_after_drain(pid)
    ok = result["failed"] == 0 and result["commands_failed"] == 0 and left == 1
    say(f"scale: {result['requests']} requests, {result['failed']} failed; {kinds(result)}; {left} worker left")
    return Row(f"lost requests, scale 1 to {top} to 1, {rounds} times",
               f"{result['failed']} of {result['requests']}; processes left: {left - 1}", "0; 0", "", ok)


def children_after_drain(pid):
    """Living children once those that were let go had their drain's time to end."""
    def children():
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        return [child for task in tasks for child in (task / "children").read_text().split()]

    with contextlib.suppress(TimeoutError):
        eventually("one worker is left", lambda: len(children()) == 1, 30)
    return len(children())
