"""Requests lost through node, gunicorn, nginx and Go: behind handover, and by their own best reload.

Each loss is attributed by the kernel's trace of TCP states: the process that closed the
connection lost it. What was refused, or what no worker ever took from the queue, was lost by whoever
holds the listener.
"""

import contextlib
import dataclasses
import math
import os
import signal
import subprocess

from closers import closers
from lab import (PYTHON_SERVER, ROOT, Row, answers, eventually, folder, free_port, handover, have, kinds,
                 load, running, say, server_starter)

APPS = ROOT / "bench" / "apps"


@dataclasses.dataclass
class App:
    name: str
    command: list
    own: object  # makes a context manager that yields (port, reload command)
    own_name: str
    rate: int = 300
    config: str = ""


def measure(quick):
    count = 3 if quick else 100
    rows = []
    with folder() as path, contextlib.ExitStack() as stack:
        for app in known(path, stack, quick):
            rows.append(one(app, path, count, quick))
        missing = [name for name in ("node", "gunicorn", "nginx", "go") if not have(name)]
        if missing:
            say(f"not installed, so not measured: {', '.join(missing)}")
    return rows


def one(app, path, count, quick):
    flags = ["--bake", "200ms"] if quick else []
    rates = {"new": app.rate, "kept": app.rate}
    with handover(app.command, *flags, config=app.config) as service, closers(service.port()) as seen:
        ours = load(service.port(), command=service.upgrade_command(), count=count, **rates)
        master = service.pid()
    by_us, by_app = attribute(ours, seen, master)
    with app.own() as (port, reload):
        theirs = load(port, command=reload, count=count, **rates)
    say(f"{app.name} behind handover: {ours['failed']} of {ours['requests']} lost ({kinds(ours)}), "
        f"{by_us} by handover, {by_app} by the program")
    say(f"{app.name}, {app.own_name}: {theirs['failed']} of {theirs['requests']} lost ({kinds(theirs)})")
    # Losses are rare and independent: two counts may differ by chance by twice the root.
    limit = theirs["failed"] + 2 * math.sqrt(theirs["failed"] + ours["failed"])
    ok = by_us == 0 and by_app <= limit and ours["commands_failed"] == 0
    return Row(f"lost requests, {count} upgrades, {app.name}",
               f"{by_us} by handover, {by_app} by the program, of {ours['requests']}",
               "0 by handover; by the program no more than by its own reload",
               f"{app.own_name}: {theirs['failed']} of {theirs['requests']}", ok)


def attribute(result, seen, master):
    """How many losses were the listener's holder's, how many the program's."""
    by_us = by_app = 0
    for loss in result["losses"]:
        at = (result["started_monotonic_ms"] + loss["failed_ms"]) / 1000
        if is_ours(loss, seen.of(loss["port"], at) if seen else None, master, seen):
            by_us += 1
            say(f"by handover: {loss}")
        else:
            by_app += 1
    return by_us, by_app


def is_ours(loss, closer, master, seen):
    """Whether the holder of the listener lost it, and not the program."""
    if loss["kind"] == "refused":
        return True
    if loss["answers_before"] > 0:
        return False  # the program had accepted this connection, and answered on it
    if seen is None:
        # Without a trace: a connection in the queue of a listener can end by a reset, never by EOF.
        return not loss["kind"].startswith("closed")
    return closer is None or closer[1] == master or closer[0].startswith("handover")


def known(path, stack, quick):
    if node := have("node"):
        yield App("node", [node, APPS / "node.js"], lambda: cluster(node), "node cluster, HUP")
    if nginx := have("nginx"):
        backend = free_port()
        stack.enter_context(running([*PYTHON_SERVER, backend]))
        eventually("the backend serves", lambda: answers(backend))
        script = behind_handover(nginx, path, backend)
        yield App("nginx", ["/bin/sh", "-c", script], lambda: nginx_usr2(nginx, path, backend),
                  "nginx, USR2 + QUIT", config='[drain]\nsignal = "QUIT"\n')
    if quick:
        return
    if gunicorn := have("gunicorn"):
        words = [gunicorn, "--chdir", APPS, "-k", "gthread", "--workers", "2", "--threads", "8",
                 "--keep-alive", "75", "--log-level", "warning", "wsgi:app"]
        yield App("gunicorn", words, lambda: gunicorn_hup(words), "gunicorn, HUP", rate=150)
    if have("go"):
        program = path / "go-server"
        env = {**os.environ, "GOCACHE": str(path / "go-cache"), "GO111MODULE": "off", "GOPATH": str(path)}
        subprocess.run([have("go"), "build", "-o", program, APPS / "server.go"], env=env, check=True)
        if have("start_server"):
            yield App("Go", [program], lambda: starter(program), "Server::Starter")


@contextlib.contextmanager
def cluster(node):
    port = free_port()
    with running([node, APPS / "node.js"], env={"CLUSTER": str(port)}) as process:
        eventually("node serves", lambda: answers(port))
        yield port, f"kill -HUP {process.pid} && sleep 1"


@contextlib.contextmanager
def gunicorn_hup(words):
    port = free_port()
    with running([*words[:-1], "--bind", f"127.0.0.1:{port}", words[-1]]) as process:
        eventually("gunicorn serves", lambda: answers(port))
        yield port, f"kill -HUP {process.pid} && sleep 1"


@contextlib.contextmanager
def starter(program):
    with server_starter([program]) as (_, port, restart):
        yield port, restart


@contextlib.contextmanager
def nginx_usr2(nginx, path, backend):
    own = path / "nginx-own"
    own.mkdir(exist_ok=True)
    port = free_port()
    (own / "nginx.conf").write_text(nginx_config(own, "0", port, backend))
    pid = own / "nginx-0.pid"
    words = [nginx, "-e", own / "early.log", "-p", own, "-c", own / "nginx.conf", "-g", "daemon on;"]
    with running(words):  # goes into the background at once
        eventually("nginx serves", lambda: answers(port))
        # As its manual says: USR2, wait for the new master, QUIT to the old one.
        reload = (f"old=$(cat {pid}) && kill -USR2 $old && "
                  f"for i in $(seq 200); do [ -s {pid}.oldbin ] && [ -s {pid} ] && break; sleep 0.01; done; "
                  f"sleep 0.2; kill -QUIT $old; "
                  f"for i in $(seq 1000); do [ -e {pid}.oldbin ] || break; sleep 0.01; done; sleep 0.3")
        try:
            yield port, reload
        finally:
            os.kill(int(pid.read_text()), signal.SIGQUIT)
            eventually("nginx has ended", lambda: not pid.exists())


def behind_handover(nginx, path, backend):
    """nginx takes a socket that NGINX names, when its config has the same address."""
    # @PORT@ and @ID@ are only known to the worker itself.
    template = path / "nginx.conf.in"
    template.write_text(nginx_config(path, "@ID@", "@PORT@", backend))
    conf = f"{path}/nginx-$HANDOVER_GENERATION.conf"
    port = "import socket; print(socket.socket(fileno=3).getsockname()[1])"
    return (f"port=$({PYTHON_SERVER[0]} -c '{port}') && "
            f"sed -e s/@PORT@/$port/ -e s/@ID@/$HANDOVER_GENERATION/g {template} > {conf} && "
            f"NGINX='3;' exec {nginx} -e {path}/early.log -p {path} -c {conf} -g 'daemon off;'")


def nginx_config(path, number, port, backend):
    text = (APPS / "nginx.conf.in").read_text()
    for name, value in (("DIR", path), ("ID", number), ("PORT", port), ("BACKEND", backend)):
        text = text.replace(f"@{name}@", str(value))
    return text
