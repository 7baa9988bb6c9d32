"""`manage.py workflow_roles` makes the groups that most sites need, and again does no harm."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management.base import CommandError

from django_workflow.permissions import PERMISSIONS, ROLES, may
from tests.commands.shell import workflow


def roles(*arguments):
    return workflow(*arguments, command="workflow_roles").out


def held(name):
    return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


def test_groups_are_made_with_their_permissions(db):
    told = roles()
    assert "workflow viewer: made" in told
    assert "+ cancel_run" in told
    assert 'user.groups.add(Group.objects.get(name="workflow operator"))' in told
    assert held("workflow viewer") == {"view_run"}
    assert held("workflow operator") == set(PERMISSIONS)
    user = User.objects.create(username="ann")
    assert not may(user, "cancel_run")
    user.groups.add(Group.objects.get(name="workflow operator"))
    assert may(User.objects.get(username="ann"), "cancel_run")


def test_a_second_time_changes_nothing(db):
    roles()
    before = held("workflow operator")
    told = roles()
    assert "workflow viewer: is as it should be" in told
    assert "  + " not in told
    assert held("workflow operator") == before
    assert Group.objects.count() == len(ROLES)


def test_what_is_lacking_is_given_and_what_a_site_added_stays(db):
    roles()
    group = Group.objects.get(name="workflow operator")
    group.permissions.remove(Permission.objects.get(codename="cancel_run"))
    group.permissions.add(Permission.objects.get(codename="add_user"))
    told = roles()
    assert "workflow operator: was given what it lacked\n  + cancel_run" in told
    assert held("workflow operator") == {*PERMISSIONS, "add_user"}


def test_a_dry_run_only_tells(db):
    told = roles("--dry-run")
    assert "workflow operator: would be made" in told
    assert "Nothing was changed" in told
    assert not Group.objects.exists()
    roles()
    held_before = held("workflow viewer")
    Group.objects.get(name="workflow viewer").permissions.clear()
    assert "workflow viewer: would be given what it lacks\n  + view_run" in roles("--dry-run")
    assert held("workflow viewer") == set() != held_before


def test_before_migrate_it_says_what_to_do(db):
    Permission.objects.filter(codename="cancel_run").delete()
    with pytest.raises(CommandError, match=r"There is no permission cancel_run\. Run first: manage\.py migrate"):
        roles()
    assert not Group.objects.exists()
