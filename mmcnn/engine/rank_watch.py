"""Ends all processes of a distributed training when one of them dies."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import socket
import threading
import weakref

from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size
from mmengine.logging import print_log

from mmcnn.engine.stop_signals import end_now
from mmcnn.errors import TrainingError

#: Seconds between the report of another rank's error and the end of this process, for its own error message.
GRACE = 3.0
#: Seconds until a rank must have connected.
_PATIENCE = 30
#: Seconds until the watching thread has ended after its connections were closed.
_JOIN = 2.0
_HELLO = 64  # bytes
_GOODBYE, _ERROR, _STOPPED = b'.', b'!', b'~'
#: The kernel detects a lost machine after 3 + 3 * 2 s. It answers for a process that is merely slow.
_KEEPALIVE = {'TCP_KEEPIDLE': 3, 'TCP_KEEPINTVL': 2, 'TCP_KEEPCNT': 3}
_watches: weakref.WeakSet[RankWatch] = weakref.WeakSet()


class RankWatch:
    """Context in which the death of another rank ends this process with exit code 1 and the cause.

    Each rank holds a connection to rank 0. The kernel closes it when the process dies for any reason, and detects when
    the machine is gone; a rank that is only slow stays connected. Rank 0 informs the others. After a kill, each reports
    it and ends at once, because a launcher such as torchrun is about to send SIGTERM; after an error, it has 3 s for
    its own message. A rank that ends after a signal (``SystemExit``) passes SIGTERM on to the others. With one
    process, the context does nothing.

    All ranks must enter it together, because it communicates (a broadcast and a gather).

    Attributes:
        cause (str | None): Why another rank has ended, once known.
        stopped (bool): Whether the cause was a signal.
    """

    def __init__(self) -> None:
        self.cause: str | None = None
        self.stopped = False
        self._news = threading.Event()
        self._over = threading.Event()
        self._socket: socket.socket | None = None
        self._clients: dict[socket.socket, int] = {}

    def wait_for_cause(self, seconds: float) -> str | None:
        """Return which rank has ended by an error or a signal, if that becomes known within this time."""
        if self._socket is not None:
            self._news.wait(seconds)
        return self.cause

    def __enter__(self) -> RankWatch:
        if get_world_size() == 1:
            return self
        address: list = [None]
        if get_rank() == 0:
            self._socket = _listen()
            address = [(_own_host(), self._socket.getsockname()[1], secrets.token_hex(16))]
        broadcast_object_list(address)
        host, port, token = address[0]
        if get_rank() != 0:
            self._connect(host, port, token)
        connected = sum(all_gather_object(self._socket is not None)) - 1
        if get_rank() == 0:
            # Here, not in the thread, which can only inform the ranks that are connected.
            self._accept(connected, token)
        if self._socket is not None:
            _watches.add(self)
            work = self._serve if get_rank() == 0 else self._listen_to_first
            self._thread = threading.Thread(target=work, name='mmcnn-rank-watch', daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._socket is None:
            return
        self._over.set()
        _watches.discard(self)
        self._say({None: _GOODBYE, SystemExit: _STOPPED}.get(kind, _ERROR))
        connections = (*self._clients, self._socket)
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN)  # the shutdown wakes it; its sockets must stay open until then
        for each in connections:
            each.close()

    def say_stopped(self) -> None:
        """Announce an immediate end after a signal, which the others would take for a kill."""
        if self._socket is not None and not self._over.is_set():
            self._say(_STOPPED)

    def close_in_child(self) -> None:
        """Close the connections in a forked process, where they would outlive this rank."""
        for each in (*self._clients, self._socket):
            each.close()

    def _say(self, word: bytes) -> None:
        for each in self._clients if get_rank() == 0 else [self._socket]:
            with contextlib.suppress(OSError):
                each.sendall(word)

    def _connect(self, host: str, port: int, token: str) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout=_PATIENCE)
        except OSError as error:
            print_log(
                f'rank {get_rank()} cannot reach {host}:{port} ({error}), so the death of another rank may not be '
                'noticed',
                logger='current',
                level=30,
            )
            return
        self._socket.settimeout(None)
        _keep_alive(self._socket)
        self._socket.sendall(f'{token} {get_rank()}'.ljust(_HELLO).encode())

    def _accept(self, count: int, token: str) -> None:
        """Accept the connections of the other ranks (rank 0)."""
        self._socket.settimeout(_PATIENCE)
        while len(self._clients) < count:
            try:
                client, _ = self._socket.accept()
            except TimeoutError as error:
                raise TrainingError(
                    f'{count - len(self._clients)} of {count} ranks have lost their connection to rank 0'
                ) from error
            client.settimeout(5)
            try:
                word, _, rank = client.recv(_HELLO, socket.MSG_WAITALL).decode().strip().partition(' ')
            except (OSError, UnicodeDecodeError):
                word = ''
            if not secrets.compare_digest(word.encode(), token.encode()):
                client.close()  # not one of our ranks
                continue
            _keep_alive(client)
            self._clients[client] = int(rank)

    def _serve(self) -> None:
        """Wait for a connection to end (rank 0)."""
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            for client in self._clients:
                selector.register(client, selectors.EVENT_READ)
            while selector.get_map() and not self._over.is_set():
                for key, _ in selector.select(timeout=1):
                    said = _read(key.fileobj)
                    selector.unregister(key.fileobj)
                    if said != _GOODBYE:
                        self._end(self._clients[key.fileobj], said)

    def _listen_to_first(self) -> None:
        """Wait for a message of rank 0, or for its end (other ranks)."""
        said = _read(self._socket)
        if said != _GOODBYE:
            rank, _, how = said.decode(errors='replace').partition(' ')
            self._end(int(rank) if how else 0, (how or rank)[:1].encode())

    def _end(self, rank: int, said: bytes) -> None:
        if self._over.is_set() or self.cause is not None:
            return
        how = {_ERROR: 'has ended with an error', _STOPPED: 'was stopped by a signal'}
        how = how.get(said, 'has died: it was killed, most often because memory was full, or its machine is gone')
        self.cause = f'rank {rank} {how}; rank {get_rank()} ends with it'
        self.stopped = said == _STOPPED
        for client, other in self._clients.items():
            if other != rank:
                with contextlib.suppress(OSError):
                    client.sendall(f'{rank} '.encode() + (said or b'-'))
        if said not in (_ERROR, _STOPPED):
            end_now(1, f'error: {self.cause}')
        self._news.set()
        if self.stopped:
            os.kill(os.getpid(), signal.SIGTERM)  # this rank must stop, too
        elif not self._over.wait(GRACE):
            end_now(1, f'error: {self.cause}')


def _close_in_child() -> None:
    for watch in _watches:
        watch.close_in_child()


if hasattr(os, 'register_at_fork'):  # Windows forks no processes
    os.register_at_fork(after_in_child=_close_in_child)


def _listen() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(('', 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(('', 0))


def _own_host() -> str:
    return os.environ.get('MASTER_ADDR') or socket.gethostname()


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _read(connection: socket.socket) -> bytes:
    """Return the message of the other side; empty if it is gone."""
    try:
        return connection.recv(_HELLO)
    except OSError:
        return b''
