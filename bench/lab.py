"""What every figure needs: processes that are ended again, the load, memory and CPU."""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
HANDOVER = os.environ.get("HANDOVER", str(RELEASE / "handover"))
LOAD = str(RELEASE / "examples" / "load")
RUST_SERVER = str(RELEASE / "examples" / "server")
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
PYTHON_SERVER = [PYTHON, str(ROOT / "examples" / "server.py")]
STARTER = str(ROOT / "bench" / "apps" / "starter.sh")
PATIENCE_SECONDS = 60
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclasses.dataclass
class Row:
    """One line of the table. `ok` is None where there is nothing to compare with."""

    figure: str
    measured: str
    must: str
    peers: str = ""
    ok: bool | None = None


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def have(program):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def median(values):
    return statistics.median(values)


def eventually(what, look, seconds=PATIENCE_SECONDS):
    """The first true value that `look` gives."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if found := look():
                return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.005)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as client:
        client.request("GET", "/")
        return client.getresponse().status == 200


class UnixHTTP(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path):
        super().__init__("handover", timeout=PATIENCE_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@contextlib.contextmanager
def folder():
    """A directory on tmpfs, as /run is where services run; not every container's /run is."""
    with tempfile.TemporaryDirectory(prefix="handover-bench-", dir=MEMORY) as path:
        yield pathlib.Path(path)


@contextlib.contextmanager
def running(words, env=None, drain=signal.SIGTERM, cwd=None, log=None):
    """A process of ours: asked to end afterwards, then told. Nobody else's is ever signalled."""
    with open(log, "ab") if log else contextlib.nullcontext(subprocess.DEVNULL) as output:
        process = subprocess.Popen(
            [str(word) for word in words], env={**clean_env(), **(env or {})}, cwd=cwd,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        for ask in (drain, drain, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(ask)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(25)


def clean_env():
    drop = ("HANDOVER_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_", "INVOCATION_ID", "RUNTIME_DIRECTORY")
    return {name: value for name, value in os.environ.items() if not name.startswith(drop)}


class Service:
    """A running handover master."""

    def __init__(self, process, runtime, log):
        self.process, self.runtime, self.log = process, runtime, log

    def ask(self, method, path):
        with contextlib.closing(UnixHTTP(str(self.runtime / "control.sock"))) as client:
            client.request(method, path)
            answer = client.getresponse()
            return answer.status, answer.read()

    def status(self):
        return json.loads(self.ask("GET", "/v1/status")[1])

    def pid(self):
        return self.status()["pid"]

    def port(self):
        return int(self.status()["listeners"][0]["address"].rsplit(":", 1)[1])

    def upgrade_command(self, *words):
        return [HANDOVER, "upgrade", "--runtime-dir", str(self.runtime), *words]

    def upgrade(self, *words):
        done = subprocess.run(self.upgrade_command(*words), env=clean_env(), capture_output=True,
                              text=True, timeout=PATIENCE_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"upgrade: {done.returncode}: {done.stderr}")


@contextlib.contextmanager
def handover(command, *flags, env=None, listen="", config="", ready=True):
    """`handover run` on a loopback port that the kernel picks."""
    with folder() as path:
        words = [HANDOVER, "run", "--runtime-dir", path / "run", "--state-dir", path / "state"]
        (path / "bench.toml").write_text(
            f'[[listen]]\nname = "http"\naddress = "127.0.0.1:0"\n{listen}\n{config}')
        words += ["--config", path / "bench.toml", *flags, "--", *map(str, command)]
        with running(words, env=env, log=path / "log") as process:
            service = Service(process, path / "run", path / "log")
            wanted = "/readyz" if ready else "/healthz"

            def look():
                if process.poll() is not None:
                    raise RuntimeError(f"{words} ended:\n{service.log.read_text()}")
                return service.ask("GET", wanted)[0] == 200

            eventually("the service is ready", look)
            yield service


@contextlib.contextmanager
def server_starter(command, interval="1"):
    """Server::Starter with one worker; yields its process, port and upgrade command."""
    with folder() as path:
        port = free_port()
        files = ["--pid-file", str(path / "pid"), "--status-file", str(path / "status")]
        words = ["start_server", "--port", f"127.0.0.1:{port}", "--interval", interval, *files]
        with running([*words, "--", STARTER, *command], log=path / "log") as process:
            eventually("Server::Starter serves", lambda: answers(port))
            yield process, port, ["start_server", "--restart", *files]


def load(port, *flags, command=None, every="1s", count=None, new=300, kept=300, slow=10):
    """Runs the load generator and returns its result."""
    with folder() as path:
        words = [LOAD, "--to", f"127.0.0.1:{port}", "--json", path / "result.json",
                 "--new", new, "--kept", kept, "--slow", slow, *flags]
        if command:
            words += ["--every", every, "--count", count, "--run", shell(command)]
        said = subprocess.run([str(word) for word in words], env=clean_env(), capture_output=True,
                              text=True, check=False)
        if said.returncode not in (0, 1):
            raise RuntimeError(said.stderr)
        result = json.loads((path / "result.json").read_text())
        failed = [run for run in result["runs"] if run["code"] != 0]
        if failed:
            say(f"{len(failed)} of {len(result['runs'])} commands failed: {failed[0]['said'][:300]}")
        return result


def shell(words):
    return words if isinstance(words, str) else " ".join(f"'{word}'" for word in words)


def kinds(result):
    """Failures in words: "3 kept: closed without an answer, kept connection"."""
    parts = [f"{number} {name}: {kind}" for name, count in result["classes"].items()
             for kind, number in count["kinds"].items()]
    return "; ".join(parts)


def cpu_ns(pid):
    """Nanoseconds that a process has been on a CPU, ended threads too (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def wakeups(pid):
    """Voluntary context switches, all threads."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def memory_kib(pid):
    """PSS, and of it what is anonymous or dirty, in KiB (proc(5), smaps_rollup)."""
    fields = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0])
    # Pss_Dirty counts dirty anonymous and dirty file pages; clean anonymous ones are rare.
    return fields["Pss"], max(fields["Pss_Anon"], fields.get("Pss_Dirty", 0))


def parked(path):
    """Compiles the smallest worker."""
    program = path / "parked"
    subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", program, ROOT / "bench" / "parked.c"],
                   check=True)
    return str(program)


def notes(log):
    """What the parked workers wrote down: {(generation, what): nanoseconds}, the first of each."""
    noted = {}
    for line in log.read_text().splitlines():
        generation, what, ns = line.split()
        noted.setdefault((int(generation), what), int(ns))
    return noted
