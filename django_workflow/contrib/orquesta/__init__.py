"""Orquesta documents as flows; the extra `orquesta`."""

from django_workflow.contrib.orquesta.actions import ActionFailed

__all__ = ["ActionFailed"]
