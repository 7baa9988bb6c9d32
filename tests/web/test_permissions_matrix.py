"""Every address, admin action and socket for everybody: who sees what, who may do what, and that nothing else changes.

The tables are the expectation. Addresses come from the resolvers, so a new one without a line here fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import django
import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse

from django_workflow import Retry, pause_flow, pause_queue, permissions, testing
from django_workflow import urls as live_urls
from django_workflow.live.routing import websocket_urlpatterns
from django_workflow.models import (
    Arrival,
    Attempt,
    Dismissal,
    Erasure,
    Event,
    FlowDefinition,
    FlowVersion,
    Message,
    Queue,
    Run,
    StepRun,
    Task,
    Worker,
)
from django_workflow.operations import DEAD_LETTERS, FLOWS, QUEUES, RUNS, STEPS
from tests.live.conftest import _threads_end  # noqa: F401
from tests.live.sockets import Socket
from tests.live.viewers import session_of
from tests.web.conftest import user_with

pytestmark = pytest.mark.slow

# What comes of a request.
SEEN, LOGIN, DENIED, GONE, DONE, NOT_THUS = "200", "to the login", "403", "404", "302", "405"
#: Somebody without a login, with a role, with every permission, with none; an operator from whom a rule hides the flow.
PEOPLE = ("anonymous", "viewer", "operator", "superuser", "stranger", "shut_out")
#: In the order of PEOPLE.
ALL_LOOK = (LOGIN, SEEN, SEEN, SEEN, DENIED, SEEN)
ALL_LOOK_AT_THEIRS = (LOGIN, SEEN, SEEN, SEEN, DENIED, GONE)
NOTHING_THERE = (LOGIN, GONE, GONE, GONE, DENIED, GONE)
SAFE_ONLY = (NOT_THUS,) * 6
SOME_ASK = (LOGIN, DENIED, SEEN, SEEN, DENIED, GONE)
SOME_DO = (LOGIN, DENIED, DONE, DONE, DENIED, GONE)
# what is hidden is not among what was chosen, and a queue belongs to no flow
SOME_ASK_OF_MANY = (LOGIN, DENIED, SEEN, SEEN, DENIED, SEEN)
SOME_DO_TO_MANY = (LOGIN, DENIED, DONE, DONE, DENIED, DONE)


@dataclass(frozen=True)
class Line:
    """One address: how it is made, what comes of looking, of posting, and who changes something by that."""

    name: str
    args: Callable[[Any], list[Any]] = lambda world: []
    get: tuple[str, ...] = ALL_LOOK
    post: tuple[str, ...] = SAFE_ONLY
    query: Callable[[Any], dict[str, Any]] = lambda world: {}
    data: dict[str, Any] = field(default_factory=dict)
    changes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        found = self.args(SimpleNamespace(live="", paused="", failed="", slug="", paused_slug=""))
        return "/".join([self.name, *(str(item) for item in found[-1:] if item in verbs_by_name)])


verbs_by_name = {*RUNS, *STEPS, *QUEUES, *FLOWS, *DEAD_LETTERS}
ACTORS = ("operator", "superuser")
REASON = {"confirm": "yes", "reason": "because"}


def run_action(name: str, which: str = "live", **data: str) -> Line:
    return Line(
        "run_action", lambda world: [getattr(world, which), name], SOME_ASK, SOME_DO,
        data={**REASON, **data}, changes=ACTORS,
    )  # fmt: skip


def runs_action(name: str, which: str = "live") -> Line:
    return Line(
        "runs_action", lambda world: [name], SOME_ASK_OF_MANY, SOME_DO_TO_MANY,
        query=lambda world: {"ids": [str(getattr(world, which))]}, data=REASON, changes=ACTORS,
    )  # fmt: skip


def letters_action(name: str) -> Line:
    return Line(
        "letters_action", lambda world: [name], SOME_ASK_OF_MANY, SOME_DO_TO_MANY,
        query=lambda world: {"ids": [world.letter]}, data=REASON, changes=ACTORS,
    )  # fmt: skip


LIVE_PAGES = (
    Line("board"),
    Line("run_list"),
    Line("queues"),
    Line("workers"),
    Line("run", lambda world: [world.failed], ALL_LOOK_AT_THEIRS),
    Line("no_run", lambda world: ["no-id"], NOTHING_THERE, NOTHING_THERE),
    run_action("pause"),
    run_action("resume", "paused"),
    run_action("cancel"),
    run_action("retry", "failed"),
    run_action("skip_step", step="only"),
    run_action("complete_step", step="only", value="1"),
    runs_action("pause"),
    runs_action("resume", "paused"),
    runs_action("cancel"),
    runs_action("retry", "failed"),
    letters_action("retry"),
    letters_action("dismiss"),
    Line("flow_action", lambda world: [world.slug, "pause"], SOME_ASK, SOME_DO, data=REASON, changes=ACTORS),
    Line("flow_action", lambda world: [world.paused_slug, "resume"], SOME_ASK, SOME_DO, data=REASON, changes=ACTORS),
    Line(
        "queue_action", lambda world: ["default", "pause"], SOME_ASK_OF_MANY, SOME_DO_TO_MANY, data=REASON,
        changes=(*ACTORS, "shut_out"),
    ),
    Line(
        "queue_action", lambda world: ["slow", "resume"], SOME_ASK_OF_MANY, SOME_DO_TO_MANY, data=REASON,
        changes=(*ACTORS, "shut_out"),
    ),
    Line("start", lambda world: [world.slug], SOME_ASK, SOME_DO, data={"input": "1"}, changes=ACTORS),
)  # fmt: skip


@pytest.fixture
def world(make_flow, db):
    """Runs that go on, are paused and have failed; a flow and a queue that are paused; a row of every model."""
    flow = make_flow("matrix", retry=Retry(max_attempts=1))
    flow.step(name="only")(lambda input: 1 / 0 if input == "fail" else input)
    slow = make_flow("slow", queue="slow")
    slow.step(name="only")(lambda: None)
    failed = flow.start("fail")
    testing.run_until_idle()
    assert failed.status == "failed"
    live, paused = flow.start(), flow.start()
    paused.pause()
    slow.start()
    pause_flow(slow.slug)
    pause_queue("slow")
    task = Task.objects.get(run_id=failed.id)
    worker = Worker.objects.create(hostname="host", pid=1, queues=[], concurrency=1, lease_seconds=30)
    rows = {
        "flowdefinition": FlowDefinition.objects.get(slug=flow.slug).pk,
        "flowversion": FlowVersion.objects.get(flow__slug=flow.slug).pk,
        "run": failed.id,
        "steprun": StepRun.objects.get(run_id=failed.id).pk,
        "task": task.pk,
        "attempt": Attempt.objects.get(run_id=failed.id).pk,
        "deadletter": task.pk,
        "event": Event.objects.filter(run_id=failed.id).latest("id").pk,
        "queue": Queue.objects.get(name="default").pk,
        "worker": worker.pk,
        "erasure": Erasure.objects.create(
            run_id=uuid4(), flow_id=Run.objects.get(pk=failed.id).flow_id, flow_slug=flow.slug, what="run"
        ).pk,
    }
    return SimpleNamespace(
        failed=failed.id, live=live.id, paused=paused.id, slug=flow.slug, paused_slug=slow.slug, letter=task.pk,
        rows=rows, hidden={flow.slug, slow.slug},
    )  # fmt: skip


def make_person(who: str, *, is_staff: bool) -> User | None:
    match who:
        case "anonymous":
            return None
        case "superuser":
            user = User.objects.create_superuser("superuser", password="x")
        case "stranger":
            user = user_with("stranger")
        case _:
            user = user_with(who, permissions.ROLES["viewer" if who == "viewer" else "operator"])
    user.is_staff = is_staff
    user.save()
    return user


@pytest.fixture
def browser(request, world, settings, client_of):
    """The browser of somebody; from the one who is shut out a rule hides the flows."""

    def open_(who: str, *, is_staff: bool = False, **options: Any) -> Any:
        hidden = world.hidden
        settings.DJANGO_WORKFLOW = {
            "OBJECT_PERMISSION": lambda user, permission, flow: user.username != "shut_out" or flow.slug not in hidden
        }
        return client_of(make_person(who, is_staff=is_staff), **options)

    return open_


def everybody() -> Iterator[str]:
    """All people, one after the other; what one of them did is undone before the next one comes."""
    for who in PEOPLE:
        with transaction.atomic():
            yield who
            transaction.set_rollback(True)


KEPT = (
    Run,
    StepRun,
    Task,
    Attempt,
    Arrival,
    Event,
    Message,
    FlowDefinition,
    FlowVersion,
    Queue,
    Worker,
    Dismissal,
    Erasure,
    LogEntry,
)


def everything() -> list[Any]:
    """All rows, for before and after."""
    return [list(model.objects.order_by("pk").values()) for model in KEPT]


def outcome(response: Any) -> str:
    if response.status_code == 302 and "/login/" in response.url:
        return LOGIN
    return str(response.status_code)


def test_every_live_page_is_in_the_table():
    assert {pattern.name for pattern in live_urls.urlpatterns} == {line.name for line in LIVE_PAGES}
    acted = {line.key for line in LIVE_PAGES if "/" in line.key}
    tables = {
        "run_action": {**RUNS, **STEPS}, "runs_action": RUNS, "flow_action": FLOWS,
        "queue_action": QUEUES, "letters_action": DEAD_LETTERS,
    }  # fmt: skip
    assert acted == {f"{name}/{verb}" for name, table in tables.items() for verb in table}


@pytest.mark.parametrize("line", LIVE_PAGES, ids=lambda line: line.key)
def test_live_pages(browser, world, line):
    for who in everybody():
        check_live_page(browser(who), world, line, who)


def check_live_page(client, world, line, who):
    place = PEOPLE.index(who)
    url = reverse(f"django_workflow:{line.name}", args=line.args(world))
    before = everything()
    for method in ("get", "head"):
        seen = getattr(client, method)(url, line.query(world))
        assert outcome(seen) == line.get[place], (who, method)
    if who == "shut_out":
        body = client.get(url, line.query(world)).content.decode()
        # an answer may name what was asked for, as it does for what does not exist
        assert not any(slug in body for slug in world.hidden if f"/{slug}/" not in url)
    # asking is not doing
    asked = client.post(url, {**line.query(world), **{key: line.data[key] for key in line.data if key == "step"}})
    if line.name != "start":
        assert everything() == before, who
    assert asked.status_code != 500, who
    answered = client.post(url, {**line.query(world), **line.data})
    assert outcome(answered) == line.post[place], who
    assert (everything() != before) == (who in line.changes), who


@pytest.mark.parametrize("line", [line for line in LIVE_PAGES if line.changes], ids=lambda line: line.key)
def test_forms_of_live_pages_need_their_token(browser, world, line):
    client = browser("operator", enforce_csrf_checks=True)
    before = everything()
    url = reverse(f"django_workflow:{line.name}", args=line.args(world))
    assert client.post(url, {**line.query(world), **line.data}).status_code == 403
    assert everything() == before


def offered(body: str) -> set[str]:
    """What a page offers to do: the last parts of addresses of actions."""
    return set(re.findall(r'(?:href|action|formaction)="[^"]*/(?:actions/([\w-]+)|start)/', body)) | (
        {"start"} if "/start/" in body else set()
    )


@pytest.mark.parametrize("name", ["board", "run_list", "queues", "workers", "run"])
def test_a_viewer_is_offered_nothing_and_an_operator_something(browser, world, name):
    args = [world.live] if name == "run" else []
    url = reverse(f"django_workflow:{name}", args=args)
    assert offered(browser("viewer").get(url).content.decode()) == set()
    expected = {"run_list": {"cancel"}, "queues": {"pause"}, "run": {"pause", "cancel"}}.get(name, set())
    assert expected <= offered(browser("operator").get(url).content.decode())


# The admin: of each model the same addresses.
ADMIN = {
    "changelist": (ALL_LOOK, (LOGIN, SEEN, SEEN, SEEN, DENIED, SEEN)),
    "add": ((LOGIN, *[DENIED] * 5), (LOGIN, *[DENIED] * 5)),
    # Django leads from what is not there to its index
    "change": ((LOGIN, SEEN, SEEN, SEEN, DENIED, DONE), (LOGIN, *[DENIED] * 5)),
    "delete": ((LOGIN, *[DENIED] * 5), (LOGIN, *[DENIED] * 5)),
    "history": ((LOGIN, SEEN, SEEN, SEEN, DONE, DONE), (LOGIN, SEEN, SEEN, SEEN, DONE, DONE)),
}
#: Models whose rows belong to no flow: no rule hides them, they are there for all.
WITHOUT_FLOW = {"queue", "worker"}
ADMIN_WITHOUT_FLOW = {
    **ADMIN,
    "change": (ALL_LOOK, (LOGIN, *[DENIED] * 5)),
    "history": (ALL_LOOK, ALL_LOOK),
}
TAKEN_HOME = (LOGIN, SEEN, SEEN, SEEN, GONE, GONE)
#: Documents: whoever sees a flow takes its document home; to store one asks for Django's own permissions of flows.
ADMIN_DOCUMENTS = {
    "flowdefinition": {
        "upload": ((LOGIN, DENIED, DENIED, SEEN, DENIED, DENIED), (LOGIN, DENIED, DENIED, SEEN, DENIED, DENIED)),
        "download": (TAKEN_HOME, TAKEN_HOME),
    },
    "flowversion": {"download": (TAKEN_HOME, TAKEN_HOME)},
}
MODELS = (
    "flowdefinition", "flowversion", "run", "steprun", "task", "attempt", "deadletter", "event", "queue", "worker",
    "erasure",
)  # fmt: skip
ADMIN_ACTIONS = {
    "run": {"pause_runs": "live", "resume_runs": "paused", "retry_runs": "failed", "cancel_runs": "live"},
    "deadletter": {"retry_letters": "letter", "dismiss_letters": "letter"},
}


def test_every_admin_page_is_in_the_table():
    ours = [item for item in admin.site._registry.values() if item.opts.app_label == permissions.APP]
    assert {item.opts.model_name for item in ours} == set(MODELS)
    for item in ours:
        names = {pattern.name for pattern in item.get_urls() if pattern.name}
        kinds = {**ADMIN, **ADMIN_DOCUMENTS.get(item.opts.model_name, {})}
        assert names == {f"{permissions.APP}_{item.opts.model_name}_{kind}" for kind in kinds}
        assert {action.__name__ for action in item.actions or ()} == set(ADMIN_ACTIONS.get(item.opts.model_name, ()))


@pytest.mark.parametrize("model", MODELS)
def test_admin_pages(browser, world, model):
    for who in everybody():
        check_admin_page(browser(who, is_staff=True), world, model, who)


def check_admin_page(client, world, model, who):
    place = PEOPLE.index(who)
    before = everything()
    for kind, expected in (ADMIN_WITHOUT_FLOW if model in WITHOUT_FLOW else ADMIN).items():
        args = [] if kind in ("changelist", "add") else [world.rows[model]]
        url = reverse(f"admin:{permissions.APP}_{model}_{kind}", args=args)
        for method, row in zip((client.get, client.post), expected, strict=True):
            response = method(url)
            told = {row[place]}
            if django.VERSION >= (6, 1) and who == "shut_out" and (kind, method) == ("change", client.post):
                told.add("302")  # it says "does not exist" before it looks whether changes are allowed
            assert outcome(response) in told, (who, kind, method.__name__)
            if who == "shut_out" and model not in WITHOUT_FLOW:
                assert not any(slug in response.content.decode() for slug in world.hidden)
    assert everything() == before, who


@pytest.mark.parametrize(
    ("model", "kind"), [(model, kind) for model, kinds in ADMIN_DOCUMENTS.items() for kind in kinds]
)
def test_documents_in_the_admin(browser, world, model, kind):
    args = [] if kind == "upload" else [world.rows[model], "json"]
    url = reverse(f"admin:{permissions.APP}_{model}_{kind}", args=args)
    for who in everybody():
        client = browser(who, is_staff=True)
        before = everything()
        for method, row in zip((client.get, client.post), ADMIN_DOCUMENTS[model][kind], strict=True):
            assert outcome(method(url)) == row[PEOPLE.index(who)], (who, method.__name__)
        assert everything() == before, who


@pytest.mark.parametrize("model", MODELS)
def test_those_who_are_no_staff_do_not_get_into_the_admin(browser, world, model):
    client = browser("operator")
    for kind in ADMIN:
        args = [] if kind in ("changelist", "add") else [world.rows[model]]
        assert outcome(client.get(reverse(f"admin:{permissions.APP}_{model}_{kind}", args=args))) == LOGIN


@pytest.mark.parametrize(
    ("model", "name", "which"),
    [(model, name, which) for model, actions in ADMIN_ACTIONS.items() for name, which in actions.items()],
)
def test_admin_actions(browser, world, model, name, which):
    url = reverse(f"admin:{permissions.APP}_{model}_changelist")
    data = {"action": name, "_selected_action": [str(getattr(world, which))], "index": "0"}
    for who in everybody():
        client, place = browser(who, is_staff=True), PEOPLE.index(who)
        before = everything()
        asked = client.post(url, data)
        assert outcome(asked) == (LOGIN, DENIED, SEEN, SEEN, DENIED, SEEN)[place], who
        assert everything() == before, who
        done = client.post(url, {**data, **REASON})
        assert outcome(done) == (LOGIN, DENIED, DONE, DONE, DENIED, DONE)[place], who
        assert (everything() != before) == (who in ACTORS), who


# Sockets: whether they are opened, and with which code they are closed otherwise.
OPEN, REFUSED, UNKNOWN = 0, 4403, 4404
SOCKETS = {
    "ws/workflow/board/": (REFUSED, OPEN, OPEN, OPEN, REFUSED, OPEN),
    "ws/workflow/runs/<uuid:run_id>/": (REFUSED, OPEN, OPEN, OPEN, REFUSED, UNKNOWN),
}
#: What a page may say, and what nobody may.
SAID = {'{"type": "resync"}': OPEN, '{"type": "cancel"}': REFUSED, '{"type": "retry", "run": "x"}': REFUSED}


def test_every_socket_is_in_the_table():
    assert {str(pattern.pattern) for pattern in websocket_urlpatterns} == set(SOCKETS)


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("path", SOCKETS)
def test_sockets(browser, world, transactional_db, path, who):
    browser(who)
    user = None if who == "anonymous" else User.objects.get(username=who)
    session = None if user is None else session_of(user)
    expected = SOCKETS[path][PEOPLE.index(who)]
    address = "/" + re.sub(r"<uuid:\w+>", str(world.live), path)
    before = everything()
    for text, answer in SAID.items():
        assert async_to_sync(said)(address, session, text, answer=expected or answer, is_open=not expected)
    assert everything() == before


async def said(address: str, session: Any, text: str, *, answer: int, is_open: bool) -> bool:
    """Open a socket and say something; return whether what came of it is as expected."""
    socket = Socket(address, session)
    assert await socket.open()
    if is_open:
        assert (await socket.hear())["type"] == "hello"
        await socket.say(text)
        if answer == OPEN:
            assert (await socket.hear())["type"] == "resync"
            await socket.close()
            return True
    _, code = await socket.ending()
    await socket.close()
    return code == answer
