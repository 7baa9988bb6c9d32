"""The flows of this site: found here by `django_workflow`, as in any installed app."""

from example_project.audit.flow import audit
from example_project.examples import documents, dynamic, errors, notifications, parallel, pausing, simple
from example_project.orders.flow import orders

__all__ = ["audit", "documents", "dynamic", "errors", "notifications", "orders", "parallel", "pausing", "simple"]
