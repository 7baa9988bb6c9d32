"""Who may do what: permissions of the user, rules of the site, and what both make visible."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User

from django_workflow import permissions
from django_workflow.models import FlowDefinition, Run
from django_workflow.permissions import CANCEL, PAUSE, PERMISSIONS, ROLES, VIEW, may, visible_flows, visible_runs


@pytest.fixture
def user_with(db):
    """Make a user with some permissions."""

    def make(*names, **fields):
        user = User.objects.create(username=f"user{User.objects.count()}", **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        return user

    return make


@pytest.fixture
def flows(make_flow, db):
    """Two flows with a run each."""
    made = []
    for name in ("open", "secret"):
        flow = make_flow(name)
        flow.step(name="only")(lambda: None)
        flow.start()
        made.append(FlowDefinition.objects.get(slug=flow.slug))
    return made


@pytest.fixture
def rule(settings):
    """Set the site's rule, and note what it was asked."""
    asked = []

    def put(decide):
        def rule(user, permission, flow):
            asked.append((user, permission, flow.slug))
            return decide(user, permission, flow)

        settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": rule}
        return asked

    return put


def never(user, permission, flow):
    """A rule that is found by its path."""
    return False


def test_every_permission_exists_in_the_database(db):
    found = set(Permission.objects.filter(content_type__app_label=permissions.APP).values_list("codename", flat=True))
    assert set(PERMISSIONS) <= found


def test_roles_hold_known_permissions_and_begin_with_looking():
    for names in ROLES.values():
        assert VIEW in names
        assert set(names) <= set(PERMISSIONS)
    assert set(ROLES["viewer"]) < set(ROLES["operator"])


def test_a_permission_needs_view_run_besides(user_with):
    assert not may(user_with(CANCEL), CANCEL)
    assert may(user_with(VIEW, CANCEL), CANCEL)
    assert not may(user_with(VIEW), CANCEL)


def test_superusers_may_and_those_who_left_may_not(user_with):
    assert may(user_with(is_superuser=True), CANCEL)
    assert not may(user_with(is_superuser=True, is_active=False), VIEW)
    assert not may(user_with(VIEW, is_active=False), VIEW)
    assert not may(AnonymousUser(), VIEW)


def test_permissions_of_groups_count(user_with):
    user, group = user_with(), Group.objects.create(name="them")
    group.permissions.set(Permission.objects.filter(codename__in=[VIEW, PAUSE]))
    user.groups.add(group)
    assert may(user, PAUSE)


def test_a_rule_takes_away_and_gives_nothing(user_with, flows, rule):
    user = user_with(VIEW)
    rule(lambda user, permission, flow: True)
    assert may(user, VIEW, flows[0])
    assert not may(user, CANCEL, flows[0])
    rule(lambda user, permission, flow: permission != CANCEL)
    assert not may(user_with(VIEW, CANCEL), CANCEL, flows[0])


def test_a_rule_is_asked_for_a_flow_only(user_with, flows, rule):
    asked = rule(lambda user, permission, flow: False)
    user = user_with(VIEW, CANCEL)
    assert may(user, CANCEL)
    assert asked == []
    assert not may(user, CANCEL, flows[0])
    assert {slug for _, _, slug in asked} == {flows[0].slug}


def test_who_may_not_look_may_do_nothing_whatever_the_rule_says(user_with, flows, rule):
    rule(lambda user, permission, flow: permission == CANCEL)
    assert not may(user_with(VIEW, CANCEL), CANCEL, flows[0])


def test_a_rule_applies_to_superusers_too(user_with, flows, rule):
    rule(lambda user, permission, flow: flow.slug != flows[1].slug)
    user = user_with(is_superuser=True)
    assert may(user, VIEW, flows[0])
    assert not may(user, VIEW, flows[1])


def test_a_rule_may_be_a_dotted_path(user_with, flows, settings):
    settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": f"{__name__}.never"}
    assert permissions.object_rule() is never
    assert not may(user_with(VIEW), VIEW, flows[0])


def test_visible_flows_and_runs(user_with, flows, rule):
    user, stranger = user_with(VIEW, CANCEL), user_with()
    assert visible_flows(user) is None  # all
    assert visible_flows(stranger) == []
    assert visible_runs(user).count() == Run.objects.count() == 2
    assert not visible_runs(stranger).exists()
    rule(lambda user, permission, flow: flow.slug == flows[0].slug or permission == CANCEL)
    assert visible_flows(user) == [flows[0]]
    assert visible_flows(user, CANCEL) == [flows[0]]  # what is not seen is not acted on
    assert {run.flow_id for run in visible_runs(user)} == {flows[0].pk}
