"""Who may look at the demonstration: one who acts, one who looks."""

from __future__ import annotations

import secrets

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q

from django_workflow.permissions import APP, ROLES

OPERATOR, VIEWER = "operator", "viewer"


def make_users() -> dict[str, str]:
    """Make both users, in the groups of their roles, and return their new passwords by name.

    The operator may open the admin, and read there what the shop and the engine have stored.
    """
    for role, codenames in ROLES.items():
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set(Permission.objects.filter(content_type__app_label=APP, codename__in=codenames))
    passwords = {name: secrets.token_urlsafe(9) for name in (OPERATOR, VIEWER)}
    for name, password in passwords.items():
        user, _ = User.objects.get_or_create(username=name)
        user.is_staff = name == OPERATOR
        user.set_password(password)
        user.save()
        user.groups.set([Group.objects.get(name=name)])
    operator = User.objects.get(username=OPERATOR)
    operator.user_permissions.set(
        Permission.objects.filter(
            Q(content_type__app_label="example_project") | Q(content_type__app_label="django_workflow"),
            codename__startswith="view_",
        )
    )
    return passwords
