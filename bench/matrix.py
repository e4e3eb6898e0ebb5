#!/usr/bin/env python3
"""Runtime × situation: what showed that a worker serves, after how long, and whether that was true.

    bench/matrix.py [--starts N] [--only NAME] [--json FILE]

Every start is a master of its own. At the moment in which it says READY=1 a request goes to the
service; it must be answered as fast as one that is sent when everything is long at rest. Only
127.0.0.1, and only processes that it started itself.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from lab import HANDOVER, ROOT, RUST_SERVER, UnixHTTP, clean_env, free_port, have, median

HERE = ROOT / "bench" / "matrix"
FIXTURES = ROOT / "tests" / "fixtures" / "readiness"
PYTHON = "/usr/bin/python3"
PATIENCE_SECONDS = 30
# A tenth of the starts, at least ten, rest for so long before their first request.
REST_SECONDS = 0.3


@dataclasses.dataclass
class Runtime:
    name: str
    program: str
    words: list
    config: str = ""


@dataclasses.dataclass
class Situation:
    name: str
    before: list = dataclasses.field(default_factory=list)
    config: str = ""
    reason: str = ""


def runtimes(built, port):
    python = lambda way: Runtime(f"python {way}", PYTHON, [PYTHON, HERE / "server.py", way])
    nginx = built / "nginx.conf"
    # Whoever it runs as writes here.
    own = built / "nginx"
    own.mkdir(exist_ok=True)
    own.chmod(0o1777)
    paths = " ".join(f"{kind}_temp_path {own}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    nginx.write_text(
        f"daemon off; master_process on; worker_processes 2; pid {own}/pid; error_log stderr;\n"
        f"events {{}} http {{ access_log off; {paths} server {{ "
        f"listen 127.0.0.1:{port}; location / {{ return 200 'ok'; }} }} }}\n")
    return [
        *map(python, ("accept", "poll", "select", "asyncio")),
        Runtime("gunicorn", "gunicorn", ["gunicorn", "--chdir", FIXTURES, "wsgi:app"]),
        Runtime("uvicorn", "uvicorn", ["uvicorn", "--app-dir", HERE, "--fd", "3", "--no-access-log", "asgi:app"]),
        Runtime("node", "node", ["node", FIXTURES / "server.js"]),
        Runtime("nginx", "nginx", [have("nginx"), "-e", "stderr", "-c", nginx], 'env = { NGINX = "3;" }'),
        Runtime("go", "go", [built / "go"]),
        Runtime("ruby", "ruby", ["ruby", HERE / "server.rb"]),
        Runtime("perl", "perl", ["perl", HERE / "server.pl"]),
        Runtime("java", "javac", ["sh", "-c", f"exec java -cp {built} Server <&3"]),
        Runtime("tokio", RUST_SERVER, [RUST_SERVER], "[ready]\non = 'accepting'"),
    ]


def situations():
    plain = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    without = ["setpriv", "--bounding-set", "-sys_ptrace,-dac_read_search", "--inh-caps", "-all"]
    user = 'user = "nobody"'
    yield Situation("same user, root")
    yield Situation("other user, root", config=user)
    yield Situation("same user, not root", before=plain)
    yield Situation("other user, without CAP_SYS_PTRACE", before=without, config=user)
    if not os.path.exists("/proc/sys/kernel/yama/ptrace_scope"):
        yield Situation("Yama 0 to 2", reason="this kernel has no Yama")
    yield Situation("adopted", reason="a master that takes over running workers does not exist yet")


def build(into):
    if have("javac"):
        subprocess.run(["javac", "-d", into, HERE / "Server.java"], check=True)
    if have("go"):
        env = {**clean_env(), "GOCACHE": str(into / "cache"), "HOME": str(into)}
        source = ROOT / "bench" / "apps" / "server.go"
        subprocess.run(["go", "build", "-o", into / "go", source], check=True, env=env)


class Start:
    """One master from its start to READY=1."""

    def __init__(self, path, port, runtime, situation):
        self.path, self.port = path, port
        env = {**clean_env(), "NOTIFY_SOCKET": str(path / "notify")}
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(path / "notify"))
        (path / "notify").chmod(0o777)
        app, _, rest = runtime.config.partition("[")
        (path / "matrix.toml").write_text(
            f"[[listen]]\naddress = '127.0.0.1:{port}'\n[app]\ncommand = {json.dumps([str(w) for w in runtime.words])}\n"
            f"{app}\n{situation.config}\n{'[' + rest if rest else ''}\n")
        words = [*situation.before, HANDOVER, "run", "--config", path / "matrix.toml",
                 "--runtime-dir", path / "run", "--state-dir", path / "state"]
        with open(path / "log", "wb") as log:
            self.process = subprocess.Popen([str(word) for word in words], env=env, cwd=path,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready(self):
        self.notify.settimeout(0.5)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self.notify.recv(65536).split(b"\n"):
                    return
        raise RuntimeError("it never became ready")

    def worker(self):
        with contextlib.closing(UnixHTTP(str(self.path / "run" / "control.sock"))) as client:
            client.request("GET", "/v1/status")
            status = json.loads(client.getresponse().read())
        return status["generations"][0]["workers"][0]

    def end(self):
        for ask in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(ask)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(10)
        self.notify.close()


def ask(port):
    """Milliseconds to a whole answer."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b""
        while part := client.recv(4096):
            said += part
    if not said.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"answered {said[:60]!r}")
    return (time.monotonic() - began) * 1000


def once(built, port, runtime, situation, rest):
    with tempfile.TemporaryDirectory(dir=built) as path:
        path = pathlib.Path(path)
        path.chmod(0o755)
        if "--reuid" in situation.before:
            shutil.chown(path, "nobody", "nogroup")
        start = Start(path, port, runtime, situation)
        try:
            start.ready()
            if rest:
                time.sleep(REST_SECONDS)
            first = ask(port)
            worker = start.worker()
        except Exception as error:
            raise RuntimeError(f"{error}\n{(path / 'log').read_text()[-800:]}") from error
        finally:
            start.end()
        return first, worker["ready_ms"], worker["ready_by"]


def measure(built, port, runtime, situation, starts):
    rested = [once(built, port, runtime, situation, True)[0] for _ in range(max(10, starts // 10))]
    taken = [once(built, port, runtime, situation, False) for _ in range(starts)]
    first = [one[0] for one in taken]
    after = [one[1] for one in taken]
    by = {}
    for one in taken:
        # Numbers of processes differ from start to start.
        words = re.sub(r"(?<=pid )\d+|\d+(?= ms)", "N", one[2])
        by[words] = by.get(words, 0) + 1
    evidence = "; ".join(f"{text}" + (f" ({count})" if len(by) > 1 else "") for text, count in by.items())
    # Half as long again in the middle, and what a busy machine adds to one of so many. What a
    # program says of itself is its own affair.
    said = set(by) == {"READY=1"}
    honest = median(first) <= 1.5 * median(rested) + 2 and max(first) <= max(rested) + 50
    return (runtime.name, situation.name, evidence, f"{median(after):.0f} / {max(after):.0f}",
            f"{median(first):.1f} / {max(first):.1f}", f"{median(rested):.1f} / {max(rested):.1f}",
            "its own word" if said else "ok" if honest else "EARLY")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--starts", type=int, default=200, metavar="N", help="of each pair (200)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="runtimes or situations")
    options = parser.parse_args()
    head = ("runtime", "situation", "ready by", "ready after, ms (median / max)",
            "request at ready, ms", "request at rest, ms", "")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    failed = False
    with tempfile.TemporaryDirectory(prefix="handover-matrix-", dir="/dev/shm") as built:
        built = pathlib.Path(built)
        built.chmod(0o755)
        build(built)
        port = free_port()
        for situation in situations():
            for runtime in runtimes(built, port):
                wanted = not options.only or any(name in (runtime.name, situation.name) for name in options.only)
                if situation.reason or not wanted:
                    continue
                if not have(runtime.program):
                    row = (runtime.name, situation.name, f"{runtime.program} is not installed", "", "", "", "")
                else:
                    try:
                        row = measure(built, port, runtime, situation, options.starts)
                    except RuntimeError as error:
                        print(error, file=sys.stderr)
                        row = (runtime.name, situation.name, str(error).splitlines()[0], "", "", "", "FAILED")
                failed |= row[-1] in ("EARLY", "FAILED")
                print(f"| {' | '.join(row)} |", flush=True)
            if situation.reason:
                print(f"| all | {situation.name} | not shown: {situation.reason} | | | | |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
