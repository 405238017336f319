"""A proxy between a client and a server that misbehaves on command: raw TCP, real sockets.

    with FaultyProxy(("127.0.0.1", 5000)) as proxy:      # or a Unix socket's path
        client_of(f"http://127.0.0.1:{proxy.port}")      # everything passes
        proxy.fault = Refuse()        # connections are refused, those that are open are cut
        proxy.fault = Hang()          # taken, read, never answered
        proxy.fault = Delay(2.0)      # every answer comes two seconds late
        proxy.fault = Answer(429, {"Retry-After": "7"})  # HTTP: answered without the server
        proxy.fault = Cut(LOST_ANSWER, nth=3)            # the third request's answer is lost
        proxy.fault = Pass()

A fault may be changed at any time and counts at once, for open connections too. `Cut` cuts a
connection around a request that contains its bytes (`containing`, such as b"COMMIT" for
PostgreSQL, b"runs/create" for MLflow; by default any), at one of three moments:

    LOST_REQUEST    the server never sees it
    IN_DOUBT        sent on, and cut at once on both sides: it may be done or not
    LOST_ANSWER     the server has answered, which the client does not see: it is done

A request is what the client sends between two words of the server. `num_cut` counts what was
cut, `num_requests` all requests that contained the bytes since the fault was set. PostgreSQL
listens on a socket: `FaultyProxy(f"{folder}/.s.PGSQL.5432")`, and the client's URL is
`postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/name?sslmode=disable`.
"""

import contextlib
import re
import selectors
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

LOST_REQUEST: Final = "lost request"
IN_DOUBT: Final = "in doubt"
LOST_ANSWER: Final = "lost answer"

_LOOK_SECONDS: Final = 0.05
_CHUNK_BYTES: Final = 65536
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Address = tuple[str, int] | str


@dataclass(frozen=True)
class Pass:
    """Everything goes through."""


@dataclass(frozen=True)
class Refuse:
    """Nobody listens."""


@dataclass(frozen=True)
class Hang:
    """Connections are taken and read, and nothing ever comes back."""


@dataclass(frozen=True)
class Delay:
    """What the server says comes so many seconds late."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """HTTP requests are answered so, and never reach the server."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"no"


@dataclass(frozen=True)
class Cut:
    """The connection is cut at the n-th request with these bytes; with `every`, at each n-th."""

    moment: Literal["lost request", "in doubt", "lost answer"]
    containing: bytes = b""
    nth: int = 1
    every: bool = False

    def is_at(self, number: int) -> bool:
        """Say whether the request of this number, from 1, is one to cut."""
        return number % self.nth == 0 if self.every else number == self.nth


Fault = Pass | Refuse | Hang | Delay | Answer | Cut


class FaultyProxy:
    """Listens on a port of 127.0.0.1, which stays its own until the block is left."""

    def __init__(self, upstream: Address) -> None:
        self._upstream = upstream
        self._fault: Fault = Pass()
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._closing = threading.Event()
        self.num_requests = 0
        self.num_cut = 0
        self._listener = _bound(0)
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._listener.close()
        self.cut_all()

    @property
    def fault(self) -> Fault:
        """What is wrong at present."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        with self._lock:
            refused = isinstance(self._fault, Refuse)
            self._fault, self.num_requests, self.num_cut = fault, 0, 0
            if isinstance(fault, Refuse) and not refused:
                # A port that is taken and not listened on refuses, and stays ours.
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = _bound(self.port)
            elif refused and not isinstance(fault, Refuse):
                self._listener.listen()
        if isinstance(fault, Refuse):
            self.cut_all()

    def cut_all(self) -> None:
        """Cut all open connections, once."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()

    def cut_at(self) -> str | None:
        """Count a connection's new request; give the moment at which to cut it, if it is one."""
        with self._lock:
            self.num_requests += 1
            if not isinstance(self._fault, Cut) or not self._fault.is_at(self.num_requests):
                return None
            self.num_cut += 1
            return self._fault.moment

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:  # nobody came
                continue
            except OSError:  # it refuses at present
                self._closing.wait(_LOOK_SECONDS)
                continue
            connection = _Connection(self, client)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: "_Connection") -> None:
        try:
            with contextlib.suppress(OSError):  # either side is gone: so is the other
                connection.serve(self._upstream)
        finally:
            connection.cut()
            with self._lock:
                self._connections.discard(connection)


class _Connection:
    """One client's connection, and the proxy's own to the server."""

    def __init__(self, proxy: FaultyProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._is_cut = threading.Event()
        self._request = bytearray()  # what the client said since the server's last word
        self._is_counted = False
        self._loses_answer = False

    def serve(self, upstream: Address) -> None:
        client = self._client
        client.setblocking(True)
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            while not self._is_cut.is_set():
                for key, _ in selector.select(_LOOK_SECONDS):
                    heard = key.fileobj.recv(_CHUNK_BYTES)  # type: ignore[union-attr]
                    if not heard:
                        return
                    if key.fileobj is client:
                        if self._server is None and self._reaches_server():
                            self._server = _connected(upstream)
                            selector.register(self._server, selectors.EVENT_READ)
                        if not self._from_client(heard):
                            return
                    elif not self._from_server(heard):
                        return

    def cut(self) -> None:
        """End both connections at once, from whichever thread."""
        self._is_cut.set()
        for each in (self._client, self._server):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _reaches_server(self) -> bool:
        return not isinstance(self._proxy.fault, Hang | Answer)

    def _from_client(self, heard: bytes) -> bool:
        """Deal with what the client said; False cuts."""
        fault = self._proxy.fault
        self._request += heard
        if isinstance(fault, Answer):
            if _is_whole(self._request):
                self._client.sendall(_http(fault))
                self._request.clear()
            return True
        if isinstance(fault, Hang):
            return True
        wanted = fault.containing if isinstance(fault, Cut) else b""
        moment = None
        if not self._is_counted and wanted in self._request:
            self._is_counted = True
            moment = self._proxy.cut_at()
        if moment == LOST_REQUEST:
            return False
        assert self._server is not None
        self._server.sendall(heard)
        self._loses_answer |= moment == LOST_ANSWER
        return moment != IN_DOUBT

    def _from_server(self, heard: bytes) -> bool:
        """Deal with what the server said; False cuts."""
        fault = self._proxy.fault
        if self._loses_answer:
            return False
        if isinstance(fault, Delay) and self._request:  # the answer's first bytes
            self._is_cut.wait(fault.seconds)
        if not isinstance(self._proxy.fault, Hang | Answer):
            self._client.sendall(heard)
        self._request.clear()
        self._is_counted = False
        return True


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.settimeout(_LOOK_SECONDS)
    bound.bind(("127.0.0.1", port))
    return bound


def _connected(address: Address) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address)
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(address)
    return connected


def _is_whole(request: bytes | bytearray) -> bool:
    head, end, body = bytes(request).partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def _http(answer: Answer) -> bytes:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    lines = [f"HTTP/1.1 {answer.status} Answered", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body
