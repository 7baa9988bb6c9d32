"""`start`: with what, as whom, and how one waits for its end."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError

from django_workflow import Fail, FlowBuilder, handler, testing
from django_workflow.management.workflow import arguments, starting
from django_workflow.models import Run
from django_workflow.read.run import waiting
from django_workflow.statuses import SCHEDULED
from tests.commands.shell import workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def simple(flow):
    flow.step(name="only")(lambda input: input)
    return flow


def test_start_prints_the_id_of_the_run(simple):
    answer = workflow("start", simple.slug)
    run = Run.objects.get()
    assert answer.out == f"{run.pk}\n"
    assert run.started_by == arguments.login_name()
    told = workflow("start", simple.slug, on_terminal=True)
    assert "Follow it: manage.py workflow events" in told.out
    assert "No worker is running" in told.err


def test_start_takes_input_labels_title_key_delay_and_author(simple):
    data = workflow(
        "start", simple.slug, "--input", '{"hours": 10}', "--key", "once", "--label", "env=prod", "--label", "a=b=c",
        "--title", "First", "--delay", "10m", "--by", "ada", "--json",
    ).json  # fmt: skip
    run = Run.objects.get()
    assert data["run"] == str(run.pk)
    assert (run.input, run.labels, run.title) == ({"hours": 10}, {"env": "prod", "a": "b=c"}, "First")
    assert (run.idempotency_key, run.started_by, run.status) == ("once", "ada", SCHEDULED)
    assert timedelta(minutes=9) < run.due_at - run.created_at <= timedelta(minutes=10)
    assert workflow("start", simple.slug, "--key", "once", "--json").json["run"] == str(run.pk)


def test_input_comes_from_a_file_or_standard_input(simple, tmp_path, monkeypatch):
    path = tmp_path / "input.json"
    path.write_text('["päckchen"]')
    workflow("start", simple.slug, "--input-file", path)
    monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2]"))
    workflow("start", simple.slug, "--input-file", "-")
    assert list(Run.objects.order_by("id").values_list("input", flat=True)) == [["päckchen"], [1, 2]]
    path.write_text("{")
    for name, told in ((path, "holds no JSON"), (tmp_path / "none", "Cannot read .*: No such file")):
        with pytest.raises(CommandError, match=told):
            workflow("start", simple.slug, "--input-file", name)


def test_stored_flow_is_started_by_its_name(unique):
    slug = unique("stored")
    handler(f"{slug}.only")(lambda: 1)
    FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(slug, "only", handler=f"{slug}.only")
    workflow("start", slug)
    assert Run.objects.get().flow.slug == slug


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonsense"], "There is no flow 'nonsense'. Known: "),
        (["{slug}", "--input", "hello there"], "not JSON: .* a text needs its quotes"),
        (["{slug}", "--input", "{{"], "not JSON"),
        (["{slug}", "--input", "1", "--input-file", "-"], "not allowed with argument"),
        (["{slug}", "--label", "prod"], "'prod' is not a label: write name=value"),
        (["{slug}", "--delay", "10"], "'10' is not a duration: a number with a unit, such as 90s, 10m"),
        (["{slug}", "--delay", "99999999999d"], "is too long a time"),
        (["{slug}", "--key", ""], "an idempotency key has 1 to 200 characters, not 0"),
        (["{slug}", "--wait", "soon"], "'soon' is not a duration"),
        (["{slug}", "--input", '"\\u0000"'], "is not JSON at|cannot be stored|NUL"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(simple, words, told):
    with pytest.raises(CommandError, match=told):
        workflow("start", *(word.format(slug=simple.slug) for word in words))
    assert not Run.objects.exists()


def test_flow_with_problems_names_them_all(flow):
    flow.step(name="only", depends_on=["nowhere", "never"])(lambda: None)
    with pytest.raises(CommandError, match=r"has 2 problems:\n  - .*\n  - "):
        workflow("start", flow.slug)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("10m", 600),
        ("10min", 600),
        ("12h", 43_200),
        ("1d12h", 129_600),
        ("2w", 1_209_600),
        ("1.5h", 5_400),
    ],
)
def test_durations_have_units(text, expected):
    assert arguments.duration(text) == timedelta(seconds=expected)


@pytest.mark.parametrize("text", ["30", "", "d", "-1d", "1 month", "1x", "1d2", "nan"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(Exception, match="is not a duration"):
        arguments.duration(text)


@pytest.fixture
def _inside(monkeypatch):
    """As if the transaction of the test were none: its own thread does the work of a worker."""
    monkeypatch.setattr(waiting, "_refuse_own_changes", lambda *_: None)


@pytest.mark.usefixtures("_inside")
class TestWaiting:
    """With a worker's part done whenever the command looks."""

    @pytest.fixture(autouse=True)
    def _worker(self, monkeypatch):
        look = starting._progress_text

        def worked(*args):
            testing.run_until_idle()
            return look(*args)

        monkeypatch.setattr(starting, "_progress_text", worked)

    def test_wait_succeeds_with_the_run(self, simple):
        answer = workflow("start", simple.slug, "--input", "5", "--wait", "--output", on_terminal=True)
        run = Run.objects.get()
        assert answer.code == 0
        assert f"Run {run.pk} succeeded after" in answer.out
        assert '"only": 5' in answer.out
        assert "succeeded  100%  1 of 1 tasks finished" in answer.err

    def test_wait_fails_with_the_run(self, flow):
        flow.step(name="only")(lambda: Fail("no money"))
        answer = workflow("start", flow.slug, "--wait", on_terminal=True)
        assert answer.code == 1
        assert "failed after" in answer.out
        assert "step only: Fail: no money" in answer.out


def test_wait_in_the_transaction_that_started_the_run_is_refused(simple):
    with pytest.raises(CommandError, match="which is never committed, so no worker sees it"):
        workflow("start", simple.slug, "--wait")


@pytest.mark.usefixtures("_inside")
def test_wait_that_is_too_short_is_told_by_its_code(simple):
    answer = workflow("start", simple.slug, "--wait", "0.05", "--json")
    assert answer.code == 3
    assert answer.json["status"] == "running"
    assert "is still running; no worker has begun it." in workflow("start", simple.slug, "--wait", "0.05").out


def test_interrupted_wait_leaves_the_run_and_says_how_to_stop_it(simple, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(starting, "wait", interrupt)
    answer = workflow("start", simple.slug, "--wait")
    run = Run.objects.get()
    assert answer.code == 130
    assert f"manage.py workflow cancel {run.pk}" in answer.err
    assert run.status == "running"
