"""Identifiers made in Python."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid

#: Units of time in an id: 4,096 to a millisecond.
PER_MILLISECOND = 1 << 12
_latest = 0


def uuid7() -> uuid.UUID:
    """Return a time-ordered UUID, version 7 of RFC 9562; a thread's ids ascend, also within a millisecond.

    48 bits of milliseconds, 12 bits of their fraction, then random bits. Python's own `uuid.uuid7` comes with 3.14.
    """
    global _latest  # noqa: PLW0603  without a lock: two threads at once may get the same time, and the rest is random
    moment = _latest = max(time.time_ns() * PER_MILLISECOND // 1_000_000, _latest + 1)
    milliseconds, fraction = divmod(moment, PER_MILLISECOND)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)


def new_lease_id() -> int:
    """Return a random lease id that fits in a signed bigint."""
    return secrets.randbits(63)


def content_id(*parts: str) -> int:
    """Return a positive id that these texts have in every database; JavaScript can tell it from all others, too."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 12 or 1
