"""What the shop sells."""

from __future__ import annotations

from decimal import Decimal

from django.db.models.functions import Greatest

from example_project.models import Product

#: SKU, name, price, grams.
PRODUCTS = (
    ("tea-green", "Green tea", "6.90", 120),
    ("tea-black", "Black tea", "5.40", 120),
    ("pot-cast", "Cast-iron teapot", "58.00", 1450),
    ("cup-stone", "Stoneware cup", "14.50", 310),
    ("scale", "Kitchen scale", "32.00", 680),
)


def stock_up(quantity: int = 100) -> None:
    """Make the products known, with at least so many of each in stock."""
    Product.objects.bulk_create(
        [Product(sku=sku, name=name, price=Decimal(price), grams=grams) for sku, name, price, grams in PRODUCTS],
        ignore_conflicts=True,
    )
    skus = [sku for sku, *_ in PRODUCTS]
    # One statement per row in one order: two deliveries at once, or an order meanwhile, wait and never deadlock.
    for product in Product.objects.filter(sku__in=skus).order_by("pk"):
        Product.objects.filter(pk=product.pk).update(stock=Greatest("stock", quantity))
