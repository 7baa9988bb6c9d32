"""The demonstration, from nothing to the tables of what happened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from django_workflow.runs import handle
from example_project.audit.flow import audit
from example_project.database import database
from example_project.demo.output import DemoFailed, say
from example_project.demo.show import show_audit, show_orders, show_what_next
from example_project.demo.watch import Watch
from example_project.demo.worker import worker_process
from example_project.models import AuditReport, Order
from example_project.orders.flow import place_order

SHIPPED, REJECTED, CANCELLED = Order.Status.SHIPPED, Order.Status.REJECTED, Order.Status.CANCELLED
#: Customer, card, how many of what, and what the order must come to.
ORDERS: Sequence[tuple[str, str, dict[str, int], Order.Status]] = (
    ("Ada Lovelace", "card_4242", {"tea-green": 2, "pot-cast": 1, "cup-stone": 4}, SHIPPED),
    ("Alan Turing", "card_1881", {"tea-black": 3, "scale": 1}, SHIPPED),
    ("Grace Hopper", "card_5100", {"cup-stone": 6, "tea-green": 1, "tea-black": 1}, SHIPPED),
    ("Charles Babbage", "card_0005", {"pot-cast": 10_000}, REJECTED),
    ("Blaise Pascal", "card_declined", {"scale": 1, "tea-black": 1}, CANCELLED),
)


def demonstrate() -> None:
    """Tell the story: prepare, work, show."""
    began = time.monotonic()
    print("django_workflow: durable workflows on the PostgreSQL a site already has\n")
    with database():
        with worker_process() as worker:
            audit_run, placed = start_runs()
            names = {audit_run: "audit"} | {order.run_id: f"order {order.pk}" for order in placed if order.run_id}
            Watch(names, worker).until_settled()
        show_audit(report_of(audit_run))
        show_orders(placed)
        check_orders(placed)
        print()
    show_what_next(time.monotonic() - began)


def start_runs() -> tuple[UUID, list[Order]]:
    """Start the audit and place the orders: rows and queue messages, for any worker to take up."""
    began = time.monotonic()
    with transaction.atomic():
        run = audit.start(title="Audit", by="demo")
        placed = [
            place_order(customer, f"{customer.split()[0].lower()}@example.com", card, items)
            for customer, card, items, _ in ORDERS
        ]
    say("Started", f"1 run of the flow `audit`, {len(placed)} of `orders`, in one transaction", began)
    print()
    return run.id, placed


def report_of(run_id: UUID) -> AuditReport:
    """Return the report that a run wrote; raises `DemoFailed` if it did not succeed."""
    result = handle(run_id).result()
    if not result.is_success:
        raise DemoFailed(f"the audit {result.status}: {result.error}")
    return AuditReport.objects.get(run_id=run_id)


def check_orders(placed: Sequence[Order]) -> None:
    """Raise `DemoFailed` unless every order came to the end that was meant for it."""
    for order, (_, _, _, end) in zip(placed, ORDERS, strict=True):
        if order.status != end:
            raise DemoFailed(f"order {order.pk} is {order.status}, not {end}; see its run {order.run_id}")
