"""The payment provider, as far as a shop without a contract with one can have it.

It behaves as providers do: a payment has a key, and the same key is charged once, however often it is
sent. Now and then the provider is busy, and some cards are declined. When it is busy is not chance but
read from the key, so that tests can be exact.
"""

from __future__ import annotations

import hashlib
import re

from example_project import pace

DECLINED_CARD = "card_declined"
#: At most so many attempts of a payment meet a provider that is busy.
MOST_BUSY = 2


class GatewayBusy(Exception):
    """The payment provider is busy; try again later."""


class CardDeclined(Exception):
    """The bank declined the card; trying again does not help."""


def busy_attempts(key: str) -> int:
    """Return how many attempts of a payment find the provider busy: the number in its key, modulo three."""
    return int("".join(re.findall(r"\d", key)) or 0) % (MOST_BUSY + 1)


def charge(card: str, cents: int, *, key: str, attempt: int) -> str:
    """Charge a card and return the receipt, the same for each call with this key.

    attempt: which try this is, from 1.
    Raises `GatewayBusy` or `CardDeclined`.
    """
    pace.take_time()
    if attempt <= busy_attempts(key):
        raise GatewayBusy("the provider answered 503 Service Unavailable")
    if card == DECLINED_CARD:
        raise CardDeclined("the bank declined the card")
    return "R" + hashlib.sha256(f"{key}:{card}:{cents}".encode()).hexdigest()[:12].upper()
