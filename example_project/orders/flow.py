"""An order as a flow, from the reservation to the mail.

    reserve ──> charge ──┬──> pack (one task per item) ──> ship ──┬──> notify
                         └──> restock (if it was not paid) ───────┘

A step may run again: its worker was killed, or its answer got lost. Three ways to make that harmless
are here: `reserve` looks at the order's status in its own transaction, `charge` sends the provider the same
key each time, and `ship` and `restock` are atomic, which means the engine commits their writes together with
the end of the step. Where somebody reruns a whole order, they find that it was done before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone

from django_workflow import Fail, Flow, Retry
from example_project import pace
from example_project.models import Order, OrderItem, Payment, Product, Shipment
from example_project.orders import gateway

if TYPE_CHECKING:
    from django_workflow.worker.jobs.context import Context

IS_PAID = "outputs.charge != None"
IS_NOT_PAID = "outputs.charge == None"

orders = Flow(
    "orders",
    title="An order, from stock to the customer",
    max_duration=timedelta(hours=1),
    input_schema={
        "type": "object",
        "properties": {"order": {"type": "integer", "minimum": 1, "description": "the order's number"}},
        "required": ["order"],
        "additionalProperties": False,
    },
)


@orders.step
def reserve(input: dict[str, Any]) -> dict[str, Any] | Fail:
    """Take the items out of the stock, all or none."""
    with transaction.atomic():
        order = Order.objects.select_for_update(no_key=True).get(pk=input["order"])
        items = list(order.items.select_related("product"))
        if order.status == Order.Status.PLACED:
            if missing := take_from_stock(items):
                change_status(order, Order.Status.REJECTED)
                return Fail(f"not enough in stock: {', '.join(missing)}")
            change_status(order, Order.Status.RESERVED)
    return {
        "total": order.total,
        "items": [
            {
                "id": item.pk,
                "product": item.product_id,
                "sku": item.product.sku,
                "quantity": item.quantity,
                "grams": item.product.grams,
            }
            for item in items
        ],
    }


# Busy: four attempts, after 0.2 s, 0.4 s and 0.8 s. Declined: no further attempt. Either way the order
# does not fail but goes on unpaid, to `restock`.
@orders.step(
    retry=Retry(
        max_attempts=4,
        base=timedelta(milliseconds=200),
        factor=2,
        jitter=False,
        give_up_on=(gateway.CardDeclined,),
    ),
    timeout=timedelta(seconds=10),
    on_exhausted="skip",
)
def charge(input: dict[str, Any], reserve: dict[str, Any], ctx: Context) -> dict[str, str]:
    """Charge the customer's card."""
    order = Order.objects.get(pk=input["order"])
    total = Decimal(reserve["total"])
    ctx.logger.info("asking the provider for %s, attempt %d", total, ctx.attempt)
    receipt = gateway.charge(order.card, int(total * 100), key=f"order-{order.pk}", attempt=ctx.attempt)
    Payment.objects.get_or_create(order=order, defaults={"amount": total, "receipt": receipt})
    Order.objects.filter(pk=order.pk, status=Order.Status.RESERVED).update(status=Order.Status.PAID)
    return {"receipt": receipt}


@orders.map(over="reserve.items", depends_on=["charge"], when=IS_PAID, max_parallel=4)
def pack(item: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Pack one item and weigh it."""
    ctx.logger.info("taking %d × %s from the shelf", item["quantity"], item["sku"])
    pace.take_time()
    ctx.logger.info("packed %s, %d g", item["sku"], item["quantity"] * item["grams"])
    OrderItem.objects.filter(pk=item["id"], packed_at=None).update(packed_at=timezone.now())
    return {"sku": item["sku"], "grams": item["quantity"] * item["grams"]}


@orders.step(atomic=True, when=IS_PAID)
def ship(input: dict[str, Any], pack: list[dict[str, Any]]) -> dict[str, Any]:
    """Hand the parcel over."""
    order = Order.objects.select_for_update(no_key=True).get(pk=input["order"])
    grams = sum(item["grams"] for item in pack)
    shipment, _ = Shipment.objects.get_or_create(
        order=order, defaults={"tracking_code": tracking_code(order.pk), "grams": grams}
    )
    change_status(order, Order.Status.SHIPPED)
    return {"tracking_code": shipment.tracking_code, "grams": shipment.grams}


@orders.step(atomic=True, depends_on=["charge"], when=IS_NOT_PAID)
def restock(input: dict[str, Any], reserve: dict[str, Any]) -> dict[str, Any]:
    """Put what was reserved back, as nobody paid for it."""
    order = Order.objects.select_for_update(no_key=True).get(pk=input["order"])
    if order.status == Order.Status.CANCELLED:
        return {"items": 0}
    reserved = {item["product"]: item["quantity"] for item in reserve["items"]}
    products = lock_products(reserved)
    for product in products:
        product.stock += reserved[product.pk]
    Product.objects.bulk_update(products, ["stock"])
    change_status(order, Order.Status.CANCELLED)
    return {"items": len(reserve["items"])}


# A mail server that is away for hours does not undo an order. `restock` has nothing to tell but that it is done,
# so it is no parameter.
@orders.step(depends_on=["restock"], retry=Retry(max_attempts=5, base=timedelta(seconds=5)), on_exhausted="skip")
def notify(input: dict[str, Any], ship: dict[str, Any] | None = None) -> dict[str, str]:
    """Write to the customer; without a shipment the order was cancelled."""
    order = Order.objects.get(pk=input["order"])
    if ship is not None:
        text = f"Your parcel of {ship['grams'] / 1000:.1f} kg is on its way: {ship['tracking_code']}."
    else:
        text = "Your card could not be charged, so we put everything back. Please order again."
    pace.take_time()
    send_mail(f"Your order {order.pk}", f"Dear {order.customer},\n\n{text}\n", None, [order.email])
    return {"to": order.email, "about": "shipment" if ship is not None else "cancellation"}


def place_order(customer: str, email: str, card: str, items: Mapping[str, int]) -> Order:
    """Store an order and start its run, in one transaction: there is never one without the other.

    items: quantity by SKU. Raises `Product.DoesNotExist` for an unknown SKU.
    """
    with transaction.atomic():
        order = create_order(customer, email, card, items)
        run = orders.start(
            {"order": order.pk},
            idempotency_key=f"order-{order.pk}",
            title=str(order),
            labels={"customer": customer},
            by="shop",
        )
        order.run_id = run.id
        order.save(update_fields=["run_id"])
    return order


@transaction.atomic
def create_order(customer: str, email: str, card: str, items: Mapping[str, int]) -> Order:
    """Store an order at today's prices, without a run."""
    order = Order.objects.create(customer=customer, email=email, card=card)
    for sku, quantity in items.items():
        product = Product.objects.get(sku=sku)
        order.items.create(product=product, quantity=quantity, price=product.price)
    return order


def take_from_stock(items: Iterable[OrderItem]) -> list[str]:
    """Decrement the stock of all items, or of none; return what is missing."""
    wanted = {item.product_id: item.quantity for item in items}
    products = lock_products(wanted)
    missing = [
        f"{wanted[product.pk]:,} × {product.name} (there are {product.stock:,})"
        for product in products
        if product.stock < wanted[product.pk]
    ]
    if not missing:
        for product in products:
            product.stock -= wanted[product.pk]
        Product.objects.bulk_update(products, ["stock"])
    return missing


def lock_products(ids: Iterable[int]) -> list[Product]:
    """Lock products until the end of the transaction; all do so in one order, so nobody deadlocks."""
    return list(Product.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"))


def change_status(order: Order, status: Order.Status) -> None:
    """Write an order's next status."""
    order.status = status
    order.save(update_fields=["status"])


def tracking_code(number: int) -> str:
    """Return a parcel's number in the form of the Universal Postal Union (S10), with its check digit."""
    digits = f"{number % 100_000_000:08d}"
    rest = 11 - sum(int(digit) * weight for digit, weight in zip(digits, (8, 6, 4, 2, 3, 5, 9, 7), strict=True)) % 11
    check = {10: 0, 11: 5}.get(rest, rest)
    return f"DW{digits}{check}XX"
