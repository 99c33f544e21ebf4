"""Ends every process of a training on several ranks when one of them dies."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import socket
import threading

from mmengine.dist import broadcast_object_list, get_rank, get_world_size
from mmengine.logging import print_log

from .stop_signals import end_now

#: Seconds between the news of a death and the end of this process, for its own error message.
GRACE = 3.0
_HELLO = 64  # bytes
_GOODBYE, _ERROR, _STOPPED = b'.', b'!', b'~'
#: The kernel finds a machine that is gone in 3 + 3 * 2 s. It answers for a process that is merely slow.
_KEEPALIVE = {'TCP_KEEPIDLE': 3, 'TCP_KEEPINTVL': 2, 'TCP_KEEPCNT': 3}


class RankWatch:
    """While the context is open, the death of another rank ends this process with exit code 1 and its cause.

    Each rank holds a connection to rank 0. The kernel closes it when the process dies, however it dies, and finds out
    by itself when the machine is gone; a rank that is only slow stays alive. Rank 0 tells the others. A rank that ends
    after a signal (``SystemExit``) passes SIGTERM on to the others. Does nothing where there is one process.

    Enter it on all ranks: it takes a broadcast.
    """

    def __init__(self) -> None:
        self.cause: str | None = None
        self._news = threading.Event()
        self._over = threading.Event()
        self._socket: socket.socket | None = None
        self._clients: dict[socket.socket, int] = {}

    def wait_for_cause(self, seconds: float) -> str | None:
        """Which rank has died, if that becomes known in so many seconds."""
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
        if get_rank() == 0:
            work, arguments = self._serve, (token,)
        else:
            work, arguments = self._listen_to_first, ()
            try:
                self._socket = socket.create_connection((host, port), timeout=30)
            except OSError as error:
                print_log(
                    f'rank {get_rank()} cannot reach {host}:{port} ({error}): a rank that dies may leave it waiting',
                    logger='current',
                    level=30,
                )
                return self
            self._socket.settimeout(None)
            _keep_alive(self._socket)
            self._socket.sendall(f'{token} {get_rank()}'.ljust(_HELLO).encode())
        threading.Thread(target=work, args=arguments, name='mmcnn-rank-watch', daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._socket is None:
            return
        self._over.set()
        farewell = {None: _GOODBYE, SystemExit: _STOPPED}.get(kind, _ERROR)
        for each in list(self._clients) if get_rank() == 0 else [self._socket]:
            with contextlib.suppress(OSError):
                each.sendall(farewell)
        for each in (*self._clients, self._socket):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self, token: str) -> None:
        """Rank 0: takes the others' connections and waits for one to end."""
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(timeout=1):
                    if key.fileobj is self._socket:
                        if (client := self._accept(token)) is not None:
                            selector.register(client, selectors.EVENT_READ)
                        continue
                    said = _read(key.fileobj)
                    selector.unregister(key.fileobj)
                    rank = self._clients[key.fileobj]
                    if said != _GOODBYE:
                        self._end(rank, said)

    def _accept(self, token: str) -> socket.socket | None:
        client, _ = self._socket.accept()
        client.settimeout(5)
        try:
            word, _, rank = client.recv(_HELLO, socket.MSG_WAITALL).decode().strip().partition(' ')
        except (OSError, UnicodeDecodeError):
            word = ''
        if not secrets.compare_digest(word, token):
            client.close()
            return None
        _keep_alive(client)
        self._clients[client] = int(rank)
        return client

    def _listen_to_first(self) -> None:
        """Another rank: waits for news from rank 0, or for its end."""
        said = _read(self._socket)
        if said != _GOODBYE:
            rank, _, how = said.decode(errors='replace').partition(' ')
            self._end(int(rank) if how else 0, (how or rank)[:1].encode())

    def _end(self, rank: int, said: bytes) -> None:
        if self._over.is_set() or self.cause is not None:
            return
        how = {_ERROR: 'has ended with an error', _STOPPED: 'was stopped by a signal'}
        how = how.get(said, 'has died: killed, or its machine is gone')
        self.cause = f'rank {rank} {how}; rank {get_rank()} ends with it'
        for client, other in self._clients.items():
            if other != rank:
                with contextlib.suppress(OSError):
                    client.sendall(f'{rank} '.encode() + (said or b'-'))
        self._news.set()
        if said == _STOPPED:
            os.kill(os.getpid(), signal.SIGTERM)  # this rank is to stop as well
        elif not self._over.wait(GRACE):
            end_now(1, f'error: {self.cause}')


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
    """What the other side says; nothing if it is gone."""
    try:
        return connection.recv(_HELLO)
    except OSError:
        return b''
