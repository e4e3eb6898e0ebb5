#!/usr/bin/env python3
"""A small HTTP server that can be replaced while it serves.

    handover run --listen 127.0.0.1:8080 -- python3 examples/server.py

It knows nothing of handover, only two old conventions:
* its listening sockets are descriptors 3, 4, … when LISTEN_PID is its own
  process ID; LISTEN_FDS says how many (systemd's protocol, sd_listen_fds(3));
* SIGTERM means: finish what you have, take nothing new, then leave.
READY=1 on NOTIFY_SOCKET is possible but not needed: handover sees in the kernel
that the sockets are waited on. GET / says hello, GET /slow?ms=300 after 300 ms.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

GENERATION = os.environ.get("HANDOVER_GENERATION", "0")
DRAIN_SECONDS_MAX = 15  # below handover's drain.timeout (20 s), after which it kills
HEAD_BYTES_MAX = 16 * 1024

draining = threading.Event()
connections = set()  # their threads


def inherited_listeners():
    """The sockets that were passed to this very process, or none."""
    mine = os.environ.get("LISTEN_PID") == str(os.getpid())
    count = int(os.environ.get("LISTEN_FDS", "0")) if mine else 0
    return [socket.socket(fileno=fd) for fd in range(3, 3 + count)]


def own_listener(port):
    """Without a manager: a socket of our own, so that the file can be tried alone."""
    print(f"no sockets were passed (LISTEN_FDS, LISTEN_PID): listening on 127.0.0.1:{port} myself; "
          f"to be replaceable: handover run -l 127.0.0.1:{port} -- python3 {sys.argv[0]}", file=sys.stderr)
    return socket.create_server(("127.0.0.1", port), backlog=1024)


def accept_forever(listener):
    """One thread per listener. Ends when `drain` has put another socket in its place."""
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # the listener was made with `nonblocking = true`
            select.select([listener], [], [])
        except ConnectionAbortedError:  # the client left the queue before we came
            pass
        except OSError as error:
            if draining.is_set():
                return
            print(f"accept: {error}", file=sys.stderr)
            time.sleep(0.1)  # out of descriptors, perhaps
        else:
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            connections.add(thread)
            thread.start()


def serve(connection):
    """Answers the requests of one connection, one after the other."""
    try:
        with connection:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for head in request_heads(connection):
                status, body = answer(head)
                # The client must learn that this was the last answer *before* the connection
                # closes. A bare close of an idle connection would race with its next request.
                last = (draining.is_set() or "\r\nconnection: close" in head.lower()
                        or " HTTP/1.0" in head.split("\r\n", 1)[0])
                connection.sendall(
                    f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                    f"Connection: {'close' if last else 'keep-alive'}\r\n\r\n{body}".encode())
                if last:
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(1)
                    while connection.recv(65536):  # to its end, so that no reset overtakes the answer
                        pass
                    return
    except OSError:
        pass  # the client went away
    finally:
        connections.discard(threading.current_thread())


def request_heads(connection):
    """Yields the head of each request. This server takes no bodies."""
    received = b""
    while len(received) <= HEAD_BYTES_MAX:
        head, end, rest = received.partition(b"\r\n\r\n")
        if end:
            received = rest
            yield head.decode("latin-1")
        elif chunk := connection.recv(65536):
            received += chunk
        else:
            return


def answer(head):
    """Status and body for one request."""
    method, _, rest = head.partition(" ")
    target = urlsplit(rest.split(" ", 1)[0])
    if method != "GET":
        return "405 Method Not Allowed", "GET only\n"
    if target.path == "/slow":
        ms = parse_qs(target.query).get("ms", ["300"])[0]
        time.sleep(min(int(ms) if ms.isdigit() else 300, 10_000) / 1000)
    elif target.path != "/":
        return "404 Not Found", "nothing here\n"
    return "200 OK", f"hello from generation {GENERATION} (pid {os.getpid()})\n"


def drain(listeners, accepting):
    """Takes nothing new, answers what is there, and returns when nothing is left."""
    draining.set()
    # Our numbers for the shared listeners now mean a socket that accepts nothing; the listeners
    # themselves stay as they are, for the next generation. shutdown() would end them for everyone.
    nobody = socket.socket()
    for listener in listeners:
        os.dup2(nobody.fileno(), listener.fileno())
    for thread in accepting:
        while thread.is_alive():
            signal.pthread_kill(thread.ident, signal.SIGUSR1)  # an accept() in progress looks again
            thread.join(0.01)
    # An idle connection stays until its client asks once more, or until the deadline.
    deadline = time.monotonic() + DRAIN_SECONDS_MAX
    for thread in list(connections):
        thread.join(max(0, deadline - time.monotonic()))


def main():
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    listeners = inherited_listeners() or [own_listener(int(sys.argv[1]) if len(sys.argv) > 1 else 8080)]
    accepting = [threading.Thread(target=accept_forever, args=(l,), daemon=True) for l in listeners]
    for thread in accepting:
        thread.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    drain(listeners, accepting)


if __name__ == "__main__":
    main()
