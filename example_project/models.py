"""What the example's flows write: an audit of packages, and a shop."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import F, Q, Sum


class AuditReport(models.Model):
    """One audit of the Python packages installed on this machine."""

    run_id = models.UUIDField(unique=True, help_text="The run that wrote it.")
    created_at = models.DateTimeField(auto_now_add=True)
    python = models.CharField(max_length=20)
    unreadable = models.JSONField(default=list, blank=True, help_text="Packages that could not be read, and why.")

    class Meta:
        verbose_name = "audit report"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"Audit {self.pk} of Python {self.python}"

    @property
    def size(self) -> int:
        """Bytes of all packages together."""
        return self.packages.aggregate(size=Sum("size"))["size"] or 0


class PackageAudit(models.Model):
    """What an audit found about one package."""

    class Family(models.TextChoices):
        PERMISSIVE = "permissive", "permissive"
        WEAK = "weak", "weak copyleft"
        STRONG = "strong", "strong copyleft"
        PROPRIETARY = "proprietary", "proprietary"
        UNCLEAR = "unclear", "unclear"

    report = models.ForeignKey(AuditReport, on_delete=models.CASCADE, related_name="packages")
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=100, blank=True)
    summary = models.TextField(blank=True)
    licence = models.CharField(max_length=200, blank=True)
    licence_source = models.CharField(max_length=20, blank=True, help_text="Where the licence is declared.")
    family = models.CharField(max_length=20, choices=Family.choices)
    size = models.BigIntegerField(help_text="Bytes on disk.")
    file_count = models.IntegerField()
    missing_count = models.IntegerField(default=0, help_text="Files that were installed and are gone.")
    requirement_count = models.IntegerField(default=0)
    is_editable = models.BooleanField(default=False)

    class Meta:
        verbose_name = "audited package"
        ordering = ("report", "-size", "name")
        constraints = [
            models.UniqueConstraint(fields=("report", "name"), name="package_is_audited_once_per_report"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Product(models.Model):
    """Something the shop sells."""

    sku = models.CharField("SKU", max_length=20, unique=True)
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    grams = models.PositiveIntegerField()
    stock = models.IntegerField(default=0)

    class Meta:
        ordering = ("sku",)
        constraints = [
            # What is sold is there: no bug of ours can sell the same thing twice.
            models.CheckConstraint(condition=Q(stock__gte=0), name="stock_is_never_negative"),
        ]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """What a customer ordered; its run carries it from one status to the next."""

    class Status(models.TextChoices):
        PLACED = "placed", "placed"
        RESERVED = "reserved", "reserved"
        PAID = "paid", "paid"
        SHIPPED = "shipped", "shipped"
        REJECTED = "rejected", "rejected: not in stock"
        CANCELLED = "cancelled", "cancelled: not paid"

    customer = models.CharField(max_length=100)
    email = models.EmailField()
    card = models.CharField(max_length=40, help_text="What the payment provider knows the customer's card by.")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True)
    run_id = models.UUIDField(null=True, blank=True, unique=True, help_text="The run that handles it.")

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"Order {self.pk} of {self.customer}"

    @property
    def total(self) -> Decimal:
        """The sum of the items, at the prices of the time of ordering."""
        return self.items.aggregate(total=Sum(F("price") * F("quantity")))["total"] or Decimal(0)


class OrderItem(models.Model):
    """So many of one product, at the price of the time of ordering."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="items")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="order_items")
    quantity = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)
    packed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "order item"
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(fields=("order", "product"), name="product_is_listed_once_per_order"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="quantity_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class Payment(models.Model):
    """Money received for an order."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="payment")
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    receipt = models.CharField(max_length=40, unique=True)
    paid_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.amount} for order {self.order_id}"


class Shipment(models.Model):
    """A parcel on its way."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="shipment")
    tracking_code = models.CharField(max_length=13, unique=True)
    grams = models.PositiveIntegerField()
    shipped_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.tracking_code
