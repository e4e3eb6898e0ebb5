"""An ordinary WSGI application."""

import os
import time

# gunicorn's HUP keeps its environment: then the process of the worker tells the generations apart.
GENERATION = os.environ.get("HANDOVER_GENERATION", "0")


def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.3)
    body = f"hello from generation {GENERATION} (pid {os.getpid()})\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
