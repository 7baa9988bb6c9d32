"""Messages between the parts of a site, and following what the engine does.

`send_with_notify` stores a message in the caller's transaction: rolled back, nothing is sent. Everybody who
listens on the channel receives it, also those whom the network cut off for a while. `notify_only` tells
whoever listens at this moment, and stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata

from django.db import transaction

from django_workflow import Flow, Received, follow, listen, notify_only, send_with_notify

CHANNEL = "packages"
#: Seconds of silence after which this example stops to listen.
SILENCE = 0.3

announcement = Flow("announcement", title="Tell which packages are installed")


@announcement.step
def packages() -> list[dict[str, str]]:
    """Read the names and versions of some packages of this Python."""
    found = {item.metadata["Name"]: item.version for item in metadata.distributions()}
    return [{"package": name, "version": found[name]} for name in sorted(found, key=str.lower)[:3]]


@announcement.step(atomic=True)
def announce(packages: list[dict[str, str]]) -> int:
    """Send a message about each, in one transaction with the end of this step: all of them exactly once, or none."""
    for number, package in enumerate(packages, start=1):
        notify_only(CHANNEL, {"progress": number / len(packages)})
        send_with_notify(CHANNEL, package)
    return len(packages)


def run(say: Callable[[str], object]) -> None:
    """Send, receive, miss and catch up."""
    with listen(CHANNEL, timeout=SILENCE) as screen, listen(CHANNEL, timeout=SILENCE) as archive:
        result = announcement.execute().raise_for_status()
        with transaction.atomic():
            send_with_notify(CHANNEL, {"package": "never heard of"})
            transaction.set_rollback(True)
        say("Two listen, and both receive everything; what was rolled back was never sent:")
        say(f"  the screen:  {told(screen)}")
        say(f"  the archive: {told(archive)}")
        cursor = archive.cursor
    send_with_notify(CHANNEL, {"package": "news", "version": "while nobody listened"})
    with listen(CHANNEL, after=cursor, timeout=0) as archive:
        say(f"The archive was away. It goes on behind its cursor:\n  {told(archive)}")
    with follow(result.run_id, after=(0, 0), timeout=0) as events:
        say("What the engine did is followed in the same way:")
        say("  " + ", ".join(f"{event.type} {event.step}".strip() for event in events))


def told(messages: Iterable[Received]) -> str:
    """Return what was received, as long as it is not silent."""
    return ", ".join(
        f"{item.message['package']} {item.message['version']}" if item.is_stored else f"{item.message['progress']:.0%}"
        for item in messages
    )
