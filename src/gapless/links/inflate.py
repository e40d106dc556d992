"""Bodies taken apart step by step, under a cap."""

import zlib

_STEP = 65_536


class TooLarge(Exception):
    """A body is larger than the audit reads."""


class Truncated(Exception):
    """A compressed body ends before its end."""


class UnknownEncoding(Exception):
    """A body is compressed in a way that was not asked for."""


class Body:
    """Collects a body, inflating gzip and deflate, and never holds more than the cap.

    Args:
        encoding: value of Content-Encoding.
        cap: bytes after inflation, and before it.

    Raises:
        UnknownEncoding: for anything but gzip, deflate and identity.
    """

    def __init__(self, encoding: str, cap: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise UnknownEncoding(encoding)
        self._deflate = encoding == "deflate"
        self._inflater = None if encoding in {"", "identity"} else zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._cap = cap
        self._read = 0
        self.data = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes off the wire. Raises TooLarge, or Truncated when they are no such stream."""
        self._read += len(chunk)
        if self._inflater is None:
            self.data += chunk
        else:
            self._inflate(chunk)
        if max(self._read, len(self.data)) > self._cap:
            raise TooLarge

    def finish(self) -> bytes:
        """Return the whole body. Raises Truncated when the compressed stream has no end."""
        if self._inflater is not None and self._read and not self._inflater.eof:
            raise Truncated
        return bytes(self.data)

    def _inflate(self, chunk: bytes) -> None:
        assert self._inflater is not None
        if self._deflate and not self.data and self._read == len(chunk) and not _has_zlib_header(chunk):
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while chunk and len(self.data) <= self._cap:
                if self._inflater.eof:  # gzip files may be joined end to end
                    self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
                self.data += self._inflater.decompress(chunk, _STEP)
                chunk = self._inflater.unconsumed_tail or self._inflater.unused_data
        except zlib.error:
            raise Truncated from None


def _has_zlib_header(chunk: bytes) -> bool:
    return len(chunk) > 1 and chunk[0] & 0x0F == zlib.DEFLATED and int.from_bytes(chunk[:2], "big") % 31 == 0
