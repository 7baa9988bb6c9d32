"""Users with sessions, and what they may."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client


def make_user(name="viewer", permissions=("view_run",), **options):
    """Make a user with permissions of this app."""
    user = get_user_model().objects.create_user(name, **options)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="django_workflow", codename__in=permissions)
    )
    return user


def session_of(user):
    """Log a user in and return the key of the session."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def cookie(session):
    """Return the header's value that sends a session."""
    return f"{settings.SESSION_COOKIE_NAME}={session}"
