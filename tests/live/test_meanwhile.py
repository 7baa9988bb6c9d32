"""What a user loses while a page is open: the session, the account, the permission, the sight of a flow."""

import json

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session

from django_workflow import Flow
from django_workflow.live import viewers
from tests.live.sockets import BOARD, Socket, path_of, tell

pytestmark = pytest.mark.asyncio


def log_out(user):
    Session.objects.all().delete()


def deactivate(user):
    type(user).objects.filter(pk=user.pk).update(is_active=False)


def change_password(user):
    user.set_password("another")
    user.save()


def take_permission(user):
    user.user_permissions.remove(Permission.objects.get(codename="view_run"))


LOSSES = [log_out, deactivate, change_password, take_permission]


@pytest.fixture
def _looks_each_time(monkeypatch):
    """Let no look at a viewer be good enough for the next message."""
    monkeypatch.setattr(viewers, "RECHECK", 0.0)


@pytest.mark.usefixtures("_looks_each_time")
@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("is_board", [True, False], ids=["board", "page"])
async def test_next_change_is_not_told(viewer, session, run, lose, is_board):
    socket = Socket(BOARD if is_board else path_of(run), session)
    assert await socket.open()
    await socket.hear()
    await database_sync_to_async(lose)(viewer)
    await tell(run.id)
    assert await socket.ending() == (['{"type":"refused"}'], 4403)
    await socket.close()


@pytest.mark.parametrize("lose", LOSSES)
async def test_question_is_not_answered(viewer, session, run, lose):
    socket = Socket(path_of(run), session)
    assert await socket.open()
    await socket.hear()
    await database_sync_to_async(lose)(viewer)
    await socket.say(json.dumps({"type": "resync"}))
    assert await socket.ending() == (['{"type":"refused"}'], 4403)
    await socket.close()


async def test_look_is_good_for_some_seconds(viewer, session, run):
    async with Socket(BOARD, session) as board:
        await database_sync_to_async(log_out)(viewer)
        await tell(run.id)
        assert (await board.hear())["type"] == "changed"


class Rule:
    """A site's rule: some flows are hidden."""

    def __init__(self):
        self.hidden = set()

    def __call__(self, user, permission, flow):
        return flow.slug not in self.hidden


@pytest.fixture
def rule(settings):
    """A rule per flow that hides none yet."""
    rule = Rule()
    settings.DJANGO_WORKFLOW = {**getattr(settings, "DJANGO_WORKFLOW", {}), "OBJECT_PERMISSION": rule}
    return rule


@pytest.fixture
def secret(make_flow, transactional_db, workflow_queues):
    """A run of another flow."""
    flow: Flow = make_flow("secret")
    flow.step(lambda: None, name="only")
    handle = flow.start()
    handle.refresh()
    return handle


async def test_hidden_flows_never_reach_a_board(session, run, secret, rule):
    rule.hidden.add(secret.run.flow.slug)
    async with Socket(BOARD, session) as board:
        await tell(secret.id)
        await tell(run.id)
        assert (await board.hear())["runs"] == [str(run.id)]
        await tell(secret.id, run.id)
        assert (await board.hear())["runs"] == [str(run.id)]
        await tell(secret.id)
        assert await board.is_silent()


async def test_page_of_a_hidden_run_does_not_exist(session, secret, rule):
    rule.hidden.add(secret.run.flow.slug)
    socket = Socket(path_of(secret), session)
    assert await socket.open()
    assert (await socket.ending())[1] == 4404
    await socket.close()


@pytest.mark.usefixtures("_looks_each_time")
async def test_flow_hidden_meanwhile(session, secret, rule):
    async with Socket(BOARD, session) as board:
        await tell(secret.id)
        assert (await board.hear())["runs"] == [str(secret.id)]
        rule.hidden.add(secret.run.flow.slug)
        await tell(secret.id)
        assert await board.is_silent()


async def test_flow_is_looked_up_once_for_all_boards(session, run, rule, monkeypatch):
    asked = []
    read = viewers._read_flows

    async def note(runs):
        asked.append(runs)
        return await read(runs)

    monkeypatch.setattr(viewers, "_read_flows", note)
    async with Socket(BOARD, session) as board, Socket(BOARD, session) as other:
        for _ in range(2):
            await tell(run.id)
            assert (await board.hear())["runs"] == (await other.hear())["runs"] == [str(run.id)]
    assert asked == [[str(run.id)]]


async def test_remembered_flows_are_bounded(run, monkeypatch):
    monkeypatch.setattr(viewers, "REMEMBERED", 1)
    flows = viewers.FlowsOfRuns()
    await flows.of({str(run.id), "01990000-0000-7000-8000-000000000000"})
    await flows.of({str(run.id)})
    assert len(flows._known) == 1
