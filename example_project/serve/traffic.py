"""Runs that keep going: customers order, now and then somebody audits, now and then something fails."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from django.conf import settings

from django_workflow import FlowBuilder
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
#: Flows that are written as documents: two that go round in a loop, one with a join of all, one with two of three.
DOCUMENTS = Path(__file__).parents[2] / "docs" / "examples"
WRITTEN = ("several-entries", "monitoring-loop", "join-two-of-three")
MESSAGES = ("TAKE IT NOW: A FREE PRIZE: http://a http://b http://c", "See you at noon, by the fountain.")
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


def store_documents() -> None:
    """Store what is written as documents; where that was done before, it stays as it is."""
    for name in WRITTEN:
        FlowBuilder.publish(FlowBuilder.import_flow((DOCUMENTS / f"{name}.yaml").read_text(encoding="utf-8")))


def restock() -> None:
    """A loop with a join: order until nothing is missing."""
    wanted = [{"good": good, "count": chance.randint(1, 60)} for good in ("pen", "ink", "paper")]
    goods = {"pen": 4, "ink": 2, "paper": 10}
    FlowBuilder.get_flow("several_entries").start({"goods": goods, "orders": wanted}, by=BY)


def watch_disk() -> None:
    """A loop that waits between two looks."""
    looks = {"folder": str(FOLDER), "least_free": 0, "checks": 12, "pause": settings.EXAMPLE_PACE}
    FlowBuilder.get_flow("monitoring_loop").start(looks, by=BY)


def judge() -> None:
    """A join that waits for two of three."""
    FlowBuilder.get_flow("join_two_of_three").start({"text": chance.choice(MESSAGES)}, by=BY)


#: What is started, and how often in comparison.
KINDS: dict[Callable[[], object], int] = {
    order: 30,
    order_too_much: 2,
    small_audit: 3,
    whole_audit: 1,
    restock: 3,
    watch_disk: 1,
    judge: 2,
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
    for start in (whole_audit, order, order, order_too_much, small_audit, restock):
        start()


def start_something() -> None:
    """Start a run of a kind chosen by chance, unless there is enough to look at."""
    if Run.objects.unsettled()[:ENOUGH].count() < ENOUGH:
        [start] = chance.choices(list(KINDS), list(KINDS.values()))
        start()


def pause_until_next() -> float:
    """Return the seconds until the next start: some come close together."""
    return min(chance.expovariate(1 / EVERY), 3 * EVERY)
