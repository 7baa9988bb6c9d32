"""How long the world outside takes: the card's bank, the hands that pack, the mail server.

Nothing, so that tests and the demonstration are quick; `EXAMPLE_PACE` seconds where somebody wants to watch.
"""

from __future__ import annotations

import random
import time

from django.conf import settings


def take_time(share: float = 1.0) -> None:
    """Take as long as something outside does: `share` of `EXAMPLE_PACE`, give or take 40 %."""
    if settings.EXAMPLE_PACE:
        time.sleep(settings.EXAMPLE_PACE * share * random.uniform(0.6, 1.4))  # noqa: S311 no secret
