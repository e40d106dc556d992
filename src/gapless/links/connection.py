"""A connection of the auditor's HTTP client: GETs on it, each bounded as its answer is read."""

import errno
import re
import selectors
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gapless.links import addresses, inflate, urls
from gapless.links.head import MAX_HEAD, STATUS, fields_of, length_of

if TYPE_CHECKING:
    from gapless.links.client import Client

MAX_INTERIM = 8
DRAIN = 65_536
"""Bytes of an unwanted body that are cheaper to read than a new connection, and show whether the body is whole."""
SNIFF = 512
BIG = 1_000_000
"""Bytes from which bodies are read one at a time, so that memory holds one of them, however many are on their way."""
CHUNK = 65_536

_CHUNK_SIZE = rb"([0-9A-Fa-f]{1,15})[ \t]{0,256}(?:;[^\r\n]{0,4096})?\r?\n"
_FIRST_CHUNK, _NEXT_CHUNK = re.compile(_CHUNK_SIZE), re.compile(rb"\r?\n" + _CHUNK_SIZE)
MAX_CHUNK_SIZE = 4_500
"""Bytes of a line that says how long a chunk is."""
_WAITS = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

READ, SNIFFED, DRAINED = "read", "sniffed", "drained"
"""What is done with a body: all of it is wanted; only if its start is wanted; it is not wanted."""


@dataclass(slots=True)
class Answer:
    """What one request came to.

    Attributes:
        url: the address asked for.
        status: HTTP status, or None when no answer arrived.
        error: reason id when there is no usable answer, or None.
        fields: header fields by lower-case name; of repeated ones the first, but for Set-Cookie, joined by newlines,
            and those that say how a body is read, joined by commas.
        body: the body, inflated, when it was to be read, or None.
    """

    url: str
    status: int | None = None
    error: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(slots=True)
class Get:
    """A GET to be sent.

    Attributes:
        url: absolute http or https address without fragment.
        done: is called once with the answer.
        wanted: says of status and header fields what is done with the body.
        keep: says of the first 512 bytes whether a sniffed body is wanted.
        fields: more header fields, each as `Name: value`.
        tag: that a 304 has to name if several requests were sent at once, or empty when it cannot be the answer.
    """

    url: str
    done: Callable[[Answer], None]
    wanted: Callable[[int, dict[str, str]], str]
    keep: Callable[[bytes], bool]
    fields: Sequence[str] = ()
    tag: bytes = b""


Ended = Callable[[bool], None]
"""Is told that a connection ends before all that were sent at once are answered, or with the last of them, and whether
the one that is to be answered next fails for that."""


class Connection:
    """A connection to one origin.

    Requests that are sent at once are answered in their order (RFC 9112, 9.3.2); a server that mixes them up is found
    out by the tags that its 304s name (RFC 9110, 15.4.5).
    """

    def __init__(self, client: "Client", origin: str) -> None:
        self.origin = origin
        self.scheme = origin.partition(":")[0]
        self.fields = client.fields(origin)
        self.open = False
        self._client = client
        self._socket: socket.socket | None = None
        self._addresses: list[str] = []
        self._host, self._port = "", 0
        self._ahead: deque[Get] = deque()
        """Sent, and answered after the one that is answered now."""
        self._on_end: Ended | None = None
        self._rest = b""
        self._reused = False
        self._active = False
        self._drained = False
        """Whether all that is there was read, just now."""
        self.seconds_left = 0.0
        """Of the deadline, while a big body waits."""

    def is_quiet(self) -> bool:
        """Say whether it is open and nobody speaks unasked: what would be taken for the answer to the next request."""
        if not self.open or self._drained:
            return self.open
        assert self._socket is not None
        try:
            self._socket.recv(1)
        except _WAITS:
            return True
        except OSError:
            pass
        self.close()
        return False

    # Going

    def ask(self, gets: Sequence[Get], ended: Ended | None = None) -> None:
        """Send a request, or several at once."""
        requests = [self._client.request(get, self) for get in gets]
        self._out = requests[0] if ended is None else b"".join(requests)
        self._on_end, self._rest = ended, b""
        self._ahead.extend(gets)
        self._expect(self._ahead.popleft())
        if self.open:
            self._reused = True
            self._client.send_soon(self)
        else:
            self._resolve()

    def _expect(self, get: Get) -> None:
        self._get, self._active = get, True
        self._answer = Answer(get.url)
        self._start_reading()
        self._client.watch(self)

    def _start_reading(self) -> None:
        self._in = bytearray()
        self._read_head = True
        self._interim = 0
        self._wire = 0
        self._left: int | None = 0
        self._chunked = False
        self._chunk_size = _FIRST_CHUNK
        self._last_chunk = False
        self._body: inflate.Body | None = None
        self._what = DRAINED
        self._keep_alive = True
        self._waits = False

    def _resolve(self) -> None:
        self._reused = False
        try:
            self._host, self._port = urls.host_port(f"{self.origin}/")
        except ValueError:
            self._client.names.soon(lambda: self.fail("bad_url"))
            return
        self._client.names.find(self._host, self._port, self._resolved)

    def _resolved(self, found: list[str]) -> None:
        if not self._active:  # it ran out while the name was looked up
            return
        if not found:
            self.fail("dns")
            return
        try:
            self._client.check(self._host, self._port, found)
        except addresses.PrivateAddress:
            self.fail("private_address")
            return
        self._addresses = found[:4]
        self._connect()

    def _connect(self) -> None:
        address = self._addresses.pop(0)
        try:
            self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._socket.connect_ex((address, self._port))
        except OSError:  # a machine without IPv6, or without free file descriptors
            code = errno.ENETUNREACH
        if code not in {0, errno.EINPROGRESS, errno.EWOULDBLOCK} or self._socket is None:
            self._not_connected()
            return
        self._client.selector.register(self._socket, selectors.EVENT_WRITE, self._connected)

    def _connected(self, mask: int) -> None:
        assert self._socket is not None
        if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._not_connected("reset" if code == errno.ECONNRESET else "refused")
            return
        if self.scheme == "https":
            self._client.selector.unregister(self._socket)
            context = self._client.tls
            name = self._host
            try:
                self._socket = context.wrap_socket(self._socket, server_hostname=name, do_handshake_on_connect=False)
            except (OSError, ValueError):
                self.fail("tls")
                return
            self._client.selector.register(self._socket, selectors.EVENT_WRITE, self._shake_hands)
            self._shake_hands(mask)
        else:
            self._ready()

    def _not_connected(self, error: str = "refused") -> None:
        self._drop()
        if self._addresses:
            self._connect()
        else:
            self.fail(error)

    def _shake_hands(self, mask: int) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._client.selector.modify(self._socket, selectors.EVENT_READ, self._shake_hands)
        except ssl.SSLWantWriteError:
            self._client.selector.modify(self._socket, selectors.EVENT_WRITE, self._shake_hands)
        except ConnectionError:
            self.fail("reset")
        except (OSError, ValueError):
            self.fail("tls")
        else:
            self._ready()

    def _ready(self) -> None:
        self.open = True
        self._write()
        if self.open and self._socket is not None:
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
            self._client.selector.modify(self._socket, mask, self._event)

    def send(self) -> None:
        """Send what was asked for, if it is not over already."""
        if self.open and self._active:
            self._write()

    def _write(self) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(self._out)
        except _WAITS:
            sent = 0
        except OSError:
            self._broken()
            return
        self._out = self._out[sent:]
        if self._out:
            self._client.selector.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self._event)

    # Coming

    def _event(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and self._out:
            self._write()
            if self.open and not self._out and self._socket is not None:
                self._client.selector.modify(self._socket, selectors.EVENT_READ, self._event)
        while self.open and not self._waits and mask & selectors.EVENT_READ and self._receive():
            pass
        self._drained = False

    def _receive(self) -> bool:
        """Read once; say whether more may be there that the selector does not know of."""
        assert self._socket is not None
        try:
            data = self._socket.recv(CHUNK)
        except _WAITS:
            return False
        except OSError:
            self._broken()
            return False
        if not self._active:  # closed while it was idle, or talking without being asked
            self.close()
            return False
        if not data:
            self._ended()
            return False
        more = self.scheme == "https"
        self._wire += len(data)
        self._drained = not more and len(data) < CHUNK
        self._go_on(data)
        return more

    def _go_on(self, data: bytes) -> None:
        try:
            if self._wire > self._client.max_bytes + MAX_HEAD:  # chunks can be all wrapping
                raise inflate.TooLarge
            self._feed(data)
            while self._rest and self._active and not self._waits:
                data, self._rest = self._rest, b""
                if rest := self._unchanged(data):
                    self._feed(rest)
        except tuple(_BODY_ERRORS) as error:
            self._finish(_BODY_ERRORS[type(error)], keep=False)

    def _unchanged(self, data: bytes) -> bytes:
        """Take the answers at the beginning that only say that nothing has changed; return what follows.

        Most are such ones in a night in which nothing happened, and nothing else of them is of interest.
        """
        at = 0
        while self._ahead and (tag := self._get.tag) and data.startswith(b"HTTP/1.1 304 ", at):
            end = data.find(b"\r\n\r\n", at) + 4
            if end == 3 or data.find(tag, at, end) < 0 or data.find(b"lose", at, end) >= 0:
                break
            at, get, answer = end, self._get, self._answer
            self._expect(self._ahead.popleft())
            answer.status = 304
            get.done(answer)
        return data[at:]

    def _feed(self, data: bytes) -> None:
        if self._read_head:
            rest = self._head(data)
            if rest is None:
                return
            data = rest
        if self._chunked:
            if not data:
                self._take(data)  # what was held back while this body waited
            self._chunks(data)
        elif self._left is None:
            self._take(data)
        else:
            if len(data) > self._left:
                self._leave(data[self._left :])
                data = data[: self._left]
            self._left -= len(data)
            self._take(data)
            if self._left == 0 and self._active and not self._waits:
                self._whole()

    def _leave(self, rest: bytes) -> None:
        """Leave what came behind an answer to the next one; if none is expected, nobody knows what it is."""
        if rest:
            self._rest = rest
            self._keep_alive &= bool(self._ahead)

    def _head(self, data: bytes) -> bytes | None:
        """Take the head off what was read; return the rest, or None when it is not complete or was the end."""
        seen = max(0, len(self._in) - 3)
        head: bytes | bytearray = data
        if self._in:
            self._in += data
            head = self._in
        if not head.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(
            head[:7]
        ):  # HTTP/0.9, HTTP/2, another protocol
            self._finish("invalid_response", keep=False)
            return None
        end = head.find(b"\r\n\r\n", seen) + 4
        if (bare := head.find(b"\n\n", seen, end if end > 3 else len(head))) >= 0:
            end = bare + 2
        if end == 3:
            if head is data:
                self._in += data
            if len(head) > MAX_HEAD:
                self._finish("invalid_response", keep=False)
            return None
        status = STATUS.match(head)
        fields = fields_of(head[:end], status) if status and end <= MAX_HEAD else None
        if status is None or fields is None or self._is_of_another(status, head, end):
            self._finish("invalid_response", keep=False)
            return None
        rest, code = bytes(head[end:]), int(status[2])
        if self._in:
            self._in = bytearray()
        if code < 200:
            return self._after_interim(code, rest)
        self._read_head = False
        return self._body_follows(code, fields, rest, old=status[1] == b"0")

    def _is_of_another(self, status: re.Match[bytes], head: bytes | bytearray, end: int) -> bool:
        """Say whether an answer to one of several requests is not the answer to this one."""
        return self._on_end is not None and status[2] == b"304" and not (self._get.tag and self._get.tag in head[:end])

    def _after_interim(self, code: int, rest: bytes) -> bytes | None:
        self._interim += 1
        if code == 101 or self._interim > MAX_INTERIM:
            self._finish("invalid_response", keep=False)
            return None
        return self._head(rest) if rest else None

    def _body_follows(self, code: int, fields: dict[str, str], rest: bytes, *, old: bool) -> bytes | None:
        answer = self._answer
        answer.status, answer.fields = code, fields
        options = fields.get("connection", "").lower()
        self._keep_alive = "keep-alive" in options if old else "close" not in options
        if code in {204, 304}:
            self._leave(rest)
            self._left = 0
            self._whole()
            return None
        coding = fields.get("transfer-encoding", "").lower()
        length = fields.get("content-length", "")
        if coding and coding != "identity":
            self._chunked = True
            self._keep_alive &= not length
            if coding != "chunked":
                self._finish("unsupported_encoding", keep=False)
                return None
        elif length:
            self._left = length_of(length)
            if self._left is None:
                self._finish("invalid_response", keep=False)
                return None
        else:
            self._left, self._keep_alive = None, False
        return self._begin_body(rest)

    def _begin_body(self, rest: bytes) -> bytes | None:
        answer = self._answer
        assert answer.status is not None
        self._what = self._get.wanted(answer.status, answer.fields)
        if self._what is DRAINED:
            if self._left is None or self._left > DRAIN or self._chunked:
                self._finish(None, keep=False)
                return None
        else:
            self._body = inflate.Body(answer.fields.get("content-encoding", ""), self._client.max_bytes)
            if self._what is READ and self._left is not None and self._left > self._client.max_bytes:
                raise inflate.TooLarge
        if self._left == 0 and not self._chunked:
            self._leave(rest)
            self._whole()
            return None
        return rest

    def _chunks(self, data: bytes) -> None:
        self._in += data
        while self._active and not self._waits:
            if self._left:
                part = self._in[: self._left]
                if not part:
                    return
                del self._in[: len(part)]
                self._left -= len(part)
                self._take(part)
            elif self._last_chunk:
                self._trailer()
                return
            elif not self._next_chunk():
                return

    def _next_chunk(self) -> bool:
        """Read how long the next chunk is; say whether that is known already."""
        size = self._chunk_size.match(self._in)
        if size is None:
            if len(self._in) > MAX_CHUNK_SIZE or b"\n" in self._in[2:]:
                self._finish("invalid_response", keep=False)
            return False
        self._chunk_size = _NEXT_CHUNK
        self._left = int(size[1], 16)
        self._last_chunk = not self._left
        del self._in[: size.end()]
        return True

    def _trailer(self) -> None:
        end = 2 if self._in.startswith(b"\r\n") else self._in.find(b"\r\n\r\n") + 4
        if self._in.startswith(b"\n"):
            end = 1
        if end != 3:
            self._leave(bytes(self._in[end:]))
            self._whole()
        elif len(self._in) > MAX_HEAD:
            self._finish("invalid_response", keep=False)

    def _take(self, data: bytes | bytearray) -> None:
        body, client = self._body, self._client
        if body is None:
            return
        body.feed(data, client.max_bytes if client.big is self else BIG)
        if self._what is SNIFFED and len(body.data) >= SNIFF:
            if not self._get.keep(bytes(body.data[:SNIFF])):
                self._body = None
                self._finish(None, keep=False)
                return
            self._what = READ
        if len(body.data) > BIG and client.big is not self:
            if client.take_big(self):
                self._take(b"")
            else:
                self._wait()

    def _wait(self) -> None:
        """Let another big body go on; the deadline does not run while this one waits."""
        assert self._socket is not None
        self._waits = True
        self.seconds_left = self._client.unwatch(self)
        self._client.selector.unregister(self._socket)

    def resume(self) -> None:
        """Go on reading a big body, with what was read already."""
        if not self._active:
            return
        assert self._socket is not None
        self._waits = False
        self._client.selector.register(self._socket, selectors.EVENT_READ, self._event)
        self._go_on(b"")
        if self.scheme == "https":  # what TLS has decrypted already, no selector sees
            self._event(selectors.EVENT_READ)

    def _ended(self) -> None:
        """The server closed the connection."""
        if self._read_head:
            self._broken()
        elif self._left is None and not self._chunked:
            try:
                self._whole()
            except tuple(_BODY_ERRORS) as error:
                self._finish(_BODY_ERRORS[type(error)], keep=False)
        else:
            self._finish("truncated", keep=False)

    def _broken(self) -> None:
        if not self._active:
            self.close()
        elif self._on_end is not None:
            self.fail("reset")
        elif self._reused and self._read_head and not self._in:  # it was closed while it was idle: nothing was lost
            self._drop()
            get = self._get
            self._client.unwatch(self)
            self.ask([get])
        elif self._read_head:
            self.fail("reset")
        else:
            self._finish("truncated", keep=False)

    def _whole(self) -> None:
        answer = self._answer
        if self._body is not None:
            data = self._body.finish()
            if self._what is READ or self._get.keep(data[:SNIFF]):
                answer.body = data
        self._finish(None, keep=self._keep_alive)

    def fail(self, error: str) -> None:
        """End with an error instead of an answer."""
        self._finish(error, keep=False)

    def _finish(self, error: str | None, *, keep: bool) -> None:
        if not self._active:
            return
        self._active = False
        self._client.unwatch(self)
        self._body = None
        answer, get, ended = self._answer, self._get, self._on_end
        answer.error = answer.error or error
        if not keep:
            self._drop()
        self._client.leave_big(self)
        if keep and self._ahead:
            self._expect(self._ahead.popleft())
            get.done(answer)
            return
        if keep:
            self._client.keep(self)
        del self._answer, self._get  # a kept connection keeps no body
        self._on_end = None
        self._ahead.clear()
        if ended is not None and not keep:
            trouble = answer.error is not None and answer.error not in _OF_THE_PAGE
            ended(trouble)
            if trouble:
                return
        get.done(answer)

    def _drop(self) -> None:
        self.open = False
        if self._socket is not None:
            with suppress(KeyError, ValueError):
                self._client.selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Close it without a word."""
        self._active = False
        self._client.unwatch(self)
        self._drop()


_BODY_ERRORS: dict[type[Exception], str] = {
    inflate.TooLarge: "too_large",
    inflate.Truncated: "truncated",
    inflate.Corrupt: "invalid_response",
    inflate.UnknownEncoding: "unsupported_encoding",
}
_OF_THE_PAGE = frozenset({"too_large", "unsupported_encoding"})
"""Errors that say nothing of the connection."""
