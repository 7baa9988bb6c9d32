"""A shop's orders: stock, payment, packing, shipping."""
