"""Server nonces for DPoP proofs: a sealed time, so that nothing need be stored.

https://www.rfc-editor.org/rfc/rfc9449#section-8
"""

import hashlib
import hmac
from datetime import datetime

from server.identity.tokens import TokenRefused, decode_segment, encode_segment

NONCE_SECONDS_MAX = 300
# What two processes may differ by when they reckon the database's time. A nonce dated later than that comes
# from a clock that runs ahead, and would outlive our memory of the proofs made with it.
AHEAD_SECONDS_MAX = 5
_TIME_BYTES = 8
_MAC_BYTES = 16


class Nonces:
    """Makes nonces and tells whether one is ours and fresh. `key` is new at each start."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, now: datetime) -> str:
        moment = int(now.timestamp() * 1000).to_bytes(_TIME_BYTES, "big")
        return encode_segment(moment + self._mac(moment))

    def is_fresh(self, nonce: str, now: datetime) -> bool:
        try:
            raw = decode_segment(nonce)
        except TokenRefused:
            return False
        moment, mac = raw[:_TIME_BYTES], raw[_TIME_BYTES:]
        if not hmac.compare_digest(mac, self._mac(moment)):
            return False
        age_milliseconds = int(now.timestamp() * 1000) - int.from_bytes(moment, "big")
        return -AHEAD_SECONDS_MAX * 1000 <= age_milliseconds <= NONCE_SECONDS_MAX * 1000

    def _mac(self, moment: bytes) -> bytes:
        return hashlib.blake2b(moment, key=self._key, digest_size=_MAC_BYTES, person=b"held-nonce").digest()
