"""Runs that keep going: customers order, now and then somebody audits, now and then something fails."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import metadata

from django_workflow.models import Run
from example_project.audit.flow import audit
from example_project.examples.errors import branch, given_up, retried, skipped, slow
from example_project.examples.notifications import announcement
from example_project.examples.parallel import FOLDER, checksum_flow
from example_project.examples.pausing import file_audit
from example_project.examples.simple import TEXT, word_count
from example_project.models import Order
from example_project.orders.catalogue import PRODUCTS, stock_up
from example_project.orders.flow import create_order, place_order
from example_project.orders.gateway import DECLINED_CARD

#: No more is started while so many runs have not settled.
ENOUGH = 25
#: Mean seconds between two starts.
EVERY = 4.0
CUSTOMERS = (
    "Ada Lovelace", "Alan Turing", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth",
    "Frances Allen", "Tony Hoare", "Radia Perlman", "Leslie Lamport",
)  # fmt: skip
BY = "traffic"
chance = random.Random()  # noqa: S311  no secret


def customer() -> tuple[str, str, str]:
    """Choose a customer: name, address, card."""
    name = chance.choice(CUSTOMERS)
    card = DECLINED_CARD if chance.random() < 0.1 else f"card_{chance.randrange(10_000):04}"
    return name, f"{name.split()[0].lower()}@example.com", card


def basket() -> dict[str, int]:
    """Choose what is ordered."""
    skus = chance.sample([sku for sku, *_ in PRODUCTS], chance.randint(1, len(PRODUCTS)))
    return {sku: chance.randint(1, 4) for sku in skus}


def waiting_orders(count: int) -> list[Order]:
    """Return orders of everything there is that no run handles yet, so that somebody can start one."""
    orders = list(Order.objects.filter(run_id=None, status=Order.Status.PLACED).order_by("pk")[:count])
    everything = {sku: 1 for sku, *_ in PRODUCTS}
    return orders + [
        create_order(CUSTOMERS[0], "ada@example.com", "card_4242", everything) for _ in range(count - len(orders))
    ]


def order() -> None:
    """A customer orders."""
    stock_up()
    place_order(*customer(), basket())


def order_too_much() -> None:
    """A customer wants more than there is: the run fails."""
    place_order(*customer(), {"pot-cast": 10_000})


def whole_audit() -> None:
    """A long map: one task per package."""
    audit.start(title="All packages", by=BY, labels={"scope": "all"})


def small_audit() -> None:
    """A short map."""
    names = sorted({item.metadata["Name"] for item in metadata.distributions() if item.metadata["Name"]})
    chosen = chance.sample(names, min(12, len(names)))
    audit.start({"packages": chosen}, title="A sample", by=BY, labels={"scope": "sample"})


#: What is started, and how often in comparison.
KINDS: dict[Callable[[], object], int] = {
    order: 30,
    order_too_much: 2,
    small_audit: 3,
    whole_audit: 1,
    lambda: file_audit.start(by=BY): 1,
    lambda: checksum_flow.start(str(FOLDER), by=BY): 3,
    lambda: word_count.start(TEXT, by=BY): 2,
    lambda: announcement.start(by=BY): 1,
    lambda: retried.start(by=BY): 1,
    lambda: given_up.start({"amount": "12 apples"}, by=BY): 2,
    lambda: skipped.start(by=BY): 1,
    lambda: branch.start(by=BY): 1,
    lambda: slow.start(by=BY): 1,
}


def open_shop() -> None:
    """Start what shows at once what there is to see."""
    for start in (whole_audit, order, order, order_too_much, small_audit):
        start()


def start_something() -> None:
    """Start a run of a kind chosen by chance, unless there is enough to look at."""
    if Run.objects.unsettled()[:ENOUGH].count() < ENOUGH:
        [start] = chance.choices(list(KINDS), list(KINDS.values()))
        start()


def pause_until_next() -> float:
    """Return the seconds until the next start: some come close together."""
    return min(chance.expovariate(1 / EVERY), 3 * EVERY)
