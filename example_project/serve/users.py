"""Who may look at the demonstration: one who acts, one who looks."""

from __future__ import annotations

import secrets
from io import StringIO

from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

OPERATOR, VIEWER = "operator", "viewer"


def make_users() -> dict[str, str]:
    """Make both users, in the groups of their roles, and return their new passwords by name.

    The operator may open the admin, and read there what the shop has stored.
    """
    call_command("workflow_roles", stdout=StringIO())
    passwords = {name: secrets.token_urlsafe(9) for name in (OPERATOR, VIEWER)}
    for name, password in passwords.items():
        user, _ = User.objects.get_or_create(username=name)
        user.is_staff = name == OPERATOR
        user.set_password(password)
        user.save()
        user.groups.set([Group.objects.get(name=f"workflow {name}")])
    shop = Permission.objects.filter(content_type__app_label="example_project", codename__startswith="view_")
    User.objects.get(username=OPERATOR).user_permissions.set(shop)
    return passwords
