"""Orders, from the stock to the mail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from django_workflow.models import Run
from django_workflow.runs import handle
from django_workflow.testing import advance, assert_settled, run_until_idle
from example_project.history import history
from example_project.models import Order, Payment, Product, Shipment
from example_project.orders import gateway
from example_project.orders.catalogue import PRODUCTS, stock_up
from example_project.orders.flow import create_order, orders, place_order, tracking_code

ITEMS = {"tea-green": 2, "cup-stone": 3}


@pytest.fixture
def shop(db) -> None:
    stock_up(10)


def order_with_busy_attempts(count: int, card: str = "card_1234", items: dict[str, int] | None = None) -> Order:
    """Return an order whose payment finds the provider busy so many times."""
    for _ in range(gateway.MOST_BUSY + 1):
        order = create_order("Ada", "ada@example.com", card, items or ITEMS)
        if gateway.busy_attempts(f"order-{order.pk}") == count:
            return order
    raise AssertionError("no such order")


def stock() -> dict[str, int]:
    return dict(Product.objects.filter(sku__in=ITEMS).values_list("sku", "stock"))


def attempts(run, step: str) -> list[tuple[int | None, str]]:
    return [(entry.attempt, entry.outcome) for entry in history(run.run_id) if entry.step == step]


def test_an_order_is_reserved_paid_packed_shipped_and_told_of(shop, mailoutbox):
    order = order_with_busy_attempts(0)
    result = orders.execute({"order": order.pk}).raise_for_status()
    order.refresh_from_db()
    assert order.status == Order.Status.SHIPPED
    assert stock() == {"tea-green": 8, "cup-stone": 7}
    assert order.payment.amount == order.total == Decimal("57.30")
    assert order.shipment.grams == 2 * 120 + 3 * 310
    assert all(item.packed_at for item in order.items.all())
    assert result.output == {"notify": {"to": "ada@example.com", "about": "shipment"}}
    assert result.counts == {"reserve": 1, "charge": 1, "pack": 2, "ship": 1, "notify": 1}
    [mail] = mailoutbox
    assert mail.to == ["ada@example.com"]
    assert order.shipment.tracking_code in mail.body
    assert "1.2 kg" in mail.body


@pytest.mark.parametrize("busy", [1, 2])
def test_a_busy_provider_is_asked_again(shop, busy):
    order = order_with_busy_attempts(busy)
    result = orders.execute({"order": order.pk}).raise_for_status()
    failed = [(number, "failed") for number in range(1, busy + 1)]
    assert attempts(result, "charge") == [*failed, (busy + 1, "succeeded")]
    assert Payment.objects.filter(order=order).count() == 1


def test_a_declined_card_is_not_tried_again_and_the_stock_gets_its_items_back(shop, mailoutbox):
    order = order_with_busy_attempts(0, gateway.DECLINED_CARD)
    result = orders.execute({"order": order.pk}).raise_for_status()
    order.refresh_from_db()
    assert order.status == Order.Status.CANCELLED
    assert attempts(result, "charge") == [(1, "failed"), (None, "skipped")]
    assert [error["class"] for error in result.errors] == ["example_project.orders.gateway.CardDeclined"]
    assert stock() == {"tea-green": 10, "cup-stone": 10}
    skipped = {"charge": "skipped", "pack": "skipped", "ship": "skipped", "restock": "succeeded"}
    assert_settled(result.run, steps=skipped)
    assert not Shipment.objects.exists()
    assert "could not be charged" in mailoutbox[0].body


def test_a_provider_that_stays_busy_cancels_the_order(shop, monkeypatch):
    monkeypatch.setattr(gateway, "busy_attempts", lambda key: 10)
    run = handle(place_order("Ada", "ada@example.com", "card_1234", ITEMS).run_id)
    for delay in (0.2, 0.4, 0.8):
        run_until_idle()
        assert run.status == "running"
        advance(timedelta(seconds=delay))
    run_until_idle()
    result = assert_settled(run, steps={"charge": "skipped", "restock": "succeeded"})
    assert attempts(result, "charge") == [(number, "failed") for number in (1, 2, 3, 4)] + [(None, "skipped")]
    assert Order.objects.get(run_id=run.id).status == Order.Status.CANCELLED
    assert stock() == {"tea-green": 10, "cup-stone": 10}


def test_too_little_in_stock_fails_the_run_and_takes_nothing(shop, mailoutbox):
    order = create_order("Ada", "ada@example.com", "card_1234", {"tea-green": 1, "cup-stone": 11})
    result = orders.execute({"order": order.pk})
    order.refresh_from_db()
    assert result.status == "failed"
    assert result.error == {
        "step": "reserve",
        "class": "Fail",
        "message": "not enough in stock: 11 × Stoneware cup (there are 10)",
    }
    assert order.status == Order.Status.REJECTED
    assert stock() == {"tea-green": 10, "cup-stone": 10}
    assert mailoutbox == []


def test_reserving_twice_takes_the_items_once(shop):
    order = order_with_busy_attempts(0)
    orders.execute({"order": order.pk}).raise_for_status()
    # As if the worker had been killed after its commit and before the engine heard of it.
    Order.objects.filter(pk=order.pk).update(status=Order.Status.RESERVED)
    Shipment.objects.all().delete()
    orders.execute({"order": order.pk}).raise_for_status()
    assert stock() == {"tea-green": 8, "cup-stone": 7}
    assert Payment.objects.filter(order=order).count() == 1


def test_what_shipping_wrote_is_undone_if_it_fails(shop, monkeypatch):
    monkeypatch.setattr("django_workflow.definition.retry.RetryPolicy.delay", lambda *_: 0.0)
    order = order_with_busy_attempts(0)
    calls = []

    def fail_once(order, status):
        calls.append(status)
        if calls == [Order.Status.RESERVED, Order.Status.SHIPPED]:
            assert Shipment.objects.count() == 1
            raise ConnectionError("the label printer is away")
        order.status = status
        order.save(update_fields=["status"])

    monkeypatch.setattr("example_project.orders.flow.change_status", fail_once)
    result = orders.execute({"order": order.pk}).raise_for_status()
    assert attempts(result, "ship") == [(1, "failed"), (2, "succeeded")]
    assert Shipment.objects.count() == 1


def test_an_order_and_its_run_are_stored_together_or_not_at_all(shop):
    def place_and_fail():
        place_order("Ada", "ada@example.com", "card_1234", ITEMS)
        raise RuntimeError("something else went wrong in this request")

    with pytest.raises(RuntimeError), transaction.atomic():
        place_and_fail()
    assert not Order.objects.exists()
    assert not Run.objects.exists()


def test_a_placed_order_is_handled_by_whoever_serves_the_queue(shop, mailoutbox):
    order = place_order("Ada", "ada@example.com", "card_1234", ITEMS)
    for _ in range(gateway.MOST_BUSY + 1):
        run_until_idle()
        advance(timedelta(seconds=1))
    order.refresh_from_db()
    assert_settled(order.run_id)
    assert order.status == Order.Status.SHIPPED
    assert handle(order.run_id).run.labels == {"customer": "Ada"}
    assert len(mailoutbox) == 1


def test_an_unknown_product_is_refused(shop):
    with pytest.raises(Product.DoesNotExist):
        create_order("Ada", "ada@example.com", "card_1234", {"unobtainium": 1})
    assert not Order.objects.exists()


def test_the_history_tells_every_attempt_in_order(shop):
    order = order_with_busy_attempts(2, items={"tea-green": 1, "cup-stone": 1})
    result = orders.execute({"order": order.pk}).raise_for_status()
    entries = history(result.run_id)
    told = [(entry.step, entry.attempt, entry.outcome) for entry in entries if entry.step != "restock"]
    assert told == [
        ("reserve", 1, "succeeded"),
        ("charge", 1, "failed"),
        ("charge", 2, "failed"),
        ("charge", 3, "succeeded"),
        ("pack[0]", 1, "succeeded"),
        ("pack[1]", 1, "succeeded"),
        ("ship", 1, "succeeded"),
        ("notify", 1, "succeeded"),
    ]
    [skipped] = [entry for entry in entries if entry.step == "restock"]
    assert (skipped.attempt, skipped.outcome, skipped.note) == (None, "skipped", "condition_unmet")
    assert entries[1].note == "GatewayBusy: the provider answered 503 Service Unavailable"
    began = [entry.began for entry in entries]
    assert began == sorted(began)
    assert began[2] - began[1] >= timedelta(seconds=0.2)
    assert began[3] - began[2] >= timedelta(seconds=0.4)


@pytest.mark.parametrize(("key", "busy"), [("order-0", 0), ("order-1", 1), ("order-5", 2), ("order-12", 0), ("", 0)])
def test_when_the_provider_is_busy_is_read_from_the_key(key, busy):
    assert gateway.busy_attempts(key) == busy
    for attempt in range(1, busy + 1):
        with pytest.raises(gateway.GatewayBusy):
            gateway.charge("card", 100, key=key, attempt=attempt)
    receipt = gateway.charge("card", 100, key=key, attempt=busy + 1)
    assert receipt == gateway.charge("card", 100, key=key, attempt=busy + 2)


def test_tracking_codes_have_the_check_digit_of_the_standard():
    assert tracking_code(47_312_482) == "DW473124829XX"
    assert len({tracking_code(number) for number in range(1_000)}) == 1_000


def test_the_database_refuses_to_sell_what_is_not_there(shop):
    with pytest.raises(IntegrityError, match="stock_is_never_negative"), transaction.atomic():
        Product.objects.filter(sku="tea-green").update(stock=-1)


def test_stocking_up_adds_and_never_takes_away(shop):
    Product.objects.filter(sku="tea-green").update(stock=500)
    stock_up(20)
    assert stock() == {"tea-green": 500, "cup-stone": 20}
    assert Product.objects.count() == len(PRODUCTS)


def test_of_many_orders_at_once_only_as_many_are_shipped_as_there_is_stock(workflow_queues):
    stock_up(10)
    placed = [create_order("Ada", "ada@example.com", "card_1234", {"tea-green": 3, "cup-stone": 1}) for _ in range(6)]

    def work(order: Order) -> str:
        try:
            return orders.execute({"order": order.pk}).status
        finally:
            connection.close()

    with ThreadPoolExecutor(len(placed)) as pool:
        ends = list(pool.map(work, placed))
    assert sorted(ends) == ["failed"] * 3 + ["succeeded"] * 3
    assert stock() == {"tea-green": 1, "cup-stone": 7}
