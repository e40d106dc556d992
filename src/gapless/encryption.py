"""Encryption of what is written: AES-256-GCM under the keys of `GAPLESS_ENCRYPTION_KEY`."""

import base64
import hashlib
import os

from gapless.errors import GaplessError

_NONCE = 12
_HOW = 'python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'


class KeyMissing(GaplessError):
    """What was read is encrypted under a key that this process does not have. Nothing was changed."""


class Altered(GaplessError):
    """What was read is not what was encrypted. Nothing was changed."""


class KeyRing:
    """Keys, each named by its hash: the first encrypts, all decrypt. False when there is none.

    Args:
        text: 32 bytes in base64; several, separated by commas, while keys are being changed.

    Raises:
        ValueError: that is no key; says how to make one.
    """

    def __init__(self, text: str = "") -> None:
        keys = [_key(part) for part in text.split(",")] if text else []
        self._keys = {hashlib.sha256(key).hexdigest()[:8]: key for key in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def id(self) -> str:
        """The name of the key that encrypts; empty when there is none."""
        return next(iter(self._keys), "")

    def encrypt(self, data: bytes) -> bytes:
        """Return nonce and ciphertext under the first key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # only those who encrypt wait for it

        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._keys[self.id]).encrypt(nonce, data, None)

    def decrypt(self, data: bytes, key_id: str) -> bytes:
        """Return the plain bytes.

        Raises:
            KeyMissing: the key of this name is not here.
            Altered: the bytes are not those that were encrypted.
        """
        if key_id not in self._keys:
            here = f"the keys here are {', '.join(self._keys)}" if self else "no key is set here"
            raise KeyMissing(f"encrypted under the key {key_id!r}, and {here}: add it to GAPLESS_ENCRYPTION_KEY")
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._keys[key_id]).decrypt(data[:_NONCE], data[_NONCE:], None)
        except (InvalidTag, ValueError):  # the latter where not even a nonce is left
            raise Altered(f"altered: it does not open with the key {key_id!r} that it names") from None


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError(f"a key is 32 random bytes in base64; {_HOW} prints one")
    return key
