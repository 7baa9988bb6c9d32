"""Identifiers made in Python."""

from __future__ import annotations

import os
import secrets
import time
import uuid


def uuid7() -> uuid.UUID:
    """Return a time-ordered UUID, version 7 of RFC 9562: 48 bits of milliseconds, then random bits.

    Python's own `uuid.uuid7` comes with 3.14.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def new_lease_id() -> int:
    """Return a random lease id that fits in a signed bigint."""
    return secrets.randbits(63)
