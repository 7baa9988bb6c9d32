"""Users with the roles of a site, and browsers in which they are logged in."""

from __future__ import annotations

import pytest
from django.conf import global_settings
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_workflow.permissions import APP, ROLES


@pytest.fixture(autouse=True)
def _site(settings):
    """Use the URLs of a site that mounts the pages under workflow/."""
    settings.ROOT_URLCONF = "tests.web.urls"
    settings.LOGIN_URL = global_settings.LOGIN_URL


def user_with(name, permissions=()):
    """Make a user with permissions of this app."""
    user = User.objects.create_user(name, password=name)
    found = Permission.objects.filter(content_type__app_label=APP, codename__in=permissions)
    assert found.count() == len(set(permissions))
    user.user_permissions.set(found)
    return user


@pytest.fixture
def viewer(db):
    """Somebody who may look."""
    return user_with("viewer", ROLES["viewer"])


@pytest.fixture
def operator(db):
    """Somebody who may act."""
    return user_with("operator", ROLES["operator"])


@pytest.fixture
def superuser(db):
    """Somebody who may do everything."""
    return User.objects.create_superuser("superuser", password="superuser")


@pytest.fixture
def stranger(db):
    """A user of the site without any permission."""
    return user_with("stranger")


@pytest.fixture
def client_of():
    """Make a browser in which a user is logged in; without one, nobody is."""

    def make(user=None, **options):
        client = Client(**options)
        if user is not None:
            client.force_login(user)
        return client

    return make
