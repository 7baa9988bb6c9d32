"""The example's rows in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from example_project.models import AuditReport, Order, OrderItem, PackageAudit, Payment, Product, Shipment


class PackageInline(admin.TabularInline):
    """The packages of a report."""

    model = PackageAudit
    fields = ("name", "version", "size", "file_count", "licence", "family")
    extra = 0


@admin.register(AuditReport)
class AuditReportAdmin(admin.ModelAdmin):
    """Reports, newest first."""

    list_display = ("__str__", "created_at", "run_id")
    inlines = (PackageInline,)


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products and their stock."""

    list_display = ("sku", "name", "price", "stock")


class ItemInline(admin.TabularInline):
    """The items of an order."""

    model = OrderItem
    extra = 0


class PaymentInline(admin.TabularInline):
    """An order's payment."""

    model = Payment
    extra = 0


class ShipmentInline(admin.TabularInline):
    """An order's parcel."""

    model = Shipment
    extra = 0


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders, newest first."""

    list_display = ("__str__", "status", "placed_at", "run_id")
    list_filter = ("status",)
    inlines = (ItemInline, PaymentInline, ShipmentInline)
