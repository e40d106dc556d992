"""Bodies taken apart step by step, under a cap."""

import zlib

MAX_MEMBERS = 1_000
"""Gzip files joined end to end in one body: each costs time, however little it holds."""
_STEP = 65_536
_GZIP = b"\x1f\x8b"
_EITHER = zlib.MAX_WBITS | 32


class TooLarge(Exception):
    """A body is larger than the audit reads."""


class Truncated(Exception):
    """A compressed body ends before its end."""


class Corrupt(Exception):
    """A body is not compressed in the way it says."""


class UnknownEncoding(Exception):
    """A body is compressed in a way that was not asked for."""


class Body:
    """Collects a body, inflating gzip and deflate, and never holds more than the cap.

    Args:
        encoding: value of Content-Encoding.
        cap: bytes after inflation.

    Attributes:
        data: what is there so far.

    Raises:
        UnknownEncoding: for anything but gzip, deflate and identity.
    """

    def __init__(self, encoding: str, cap: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise UnknownEncoding(encoding)
        self._encoding = encoding
        self._inflater = None if encoding in {"", "identity"} else zlib.decompressobj(_EITHER)
        self._held = b""
        self._begun = False
        self._members = 1
        self._cap = cap
        self.data = bytearray()

    def feed(self, chunk: bytes | bytearray, stop: int) -> None:
        """Take the next bytes off the wire; inflate no further when `stop` bytes are there, but hold the rest.

        Raises:
            TooLarge: there is more than the cap.
            Corrupt: it is no such stream.
        """
        if self._inflater is None:
            self.data += chunk
        elif chunk or self._held:
            self._inflate(self._held + chunk, min(stop, self._cap))
        if len(self.data) > self._cap:
            raise TooLarge

    def finish(self) -> bytes:
        """Return the whole body. Raises Truncated when the compressed stream has no end."""
        if self._inflater is not None and self._begun and not self._inflater.eof:
            self.data += self._inflater.decompress(b"", _STEP)  # the last of it may still be inside
            if not self._inflater.eof:
                raise Truncated
        return bytes(self.data)

    def _inflate(self, chunk: bytes, stop: int) -> None:
        if not self._begun:
            if self._encoding == "deflate" and len(chunk) == 1:  # it takes two bytes to tell zlib from raw deflate
                self._held = chunk
                return
            self._begun = True
            if self._encoding == "deflate" and not _has_zlib_header(chunk):
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        assert self._inflater is not None
        try:
            while chunk and len(self.data) <= stop:
                if self._inflater.eof and not self._next_member(chunk):
                    chunk = b""
                    break
                self.data += self._inflater.decompress(chunk, _STEP)
                chunk = self._inflater.unconsumed_tail or self._inflater.unused_data
        except zlib.error:
            raise Corrupt from None
        self._held = chunk

    def _next_member(self, chunk: bytes) -> bool:
        """Begin another gzip file when one follows; what else stands behind the end is padding, and does not count."""
        if self._encoding == "deflate" or chunk[: len(_GZIP)] != _GZIP[: len(chunk)]:
            return False
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise TooLarge
        self._inflater = zlib.decompressobj(_EITHER)
        return True


def _has_zlib_header(chunk: bytes) -> bool:
    return chunk[0] & 0x0F == zlib.DEFLATED and int.from_bytes(chunk[:2], "big") % 31 == 0
