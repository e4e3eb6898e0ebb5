"""Answers "ok" on the listener in descriptor 3, waiting for it in one way: server.py accept|poll|select|asyncio"""

import asyncio
import select
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
way = sys.argv[1]
listener = socket.socket(fileno=3)


def answer():
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(ANSWER)


def serve_poll():
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        poll.poll()
        answer()


async def serve_asyncio():
    async def serve(reader, writer):
        await reader.read(4096)
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    listener.setblocking(False)
    server = await asyncio.start_server(serve, sock=listener)
    await server.serve_forever()


if way == "asyncio":
    asyncio.run(serve_asyncio())
elif way == "poll":
    serve_poll()
while True:
    if way == "select":
        select.select([listener], [], [])
    answer()
