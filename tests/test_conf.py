"""Settings: defaults, reading them, and what the system check says about them."""

from datetime import timedelta

import pytest
from psycopg import IsolationLevel

from django_workflow import Retry
from django_workflow.checks import check_settings
from django_workflow.conf import conf
from django_workflow.flow_checks import check_flows


def test_a_key_that_is_not_set_has_its_default(settings):
    settings.DJANGO_WORKFLOW = {}
    assert timedelta(seconds=30) == conf.LEASE


def test_a_site_without_the_setting_has_all_defaults(settings):
    if hasattr(settings, "DJANGO_WORKFLOW"):
        del settings.DJANGO_WORKFLOW
    assert conf.DEFAULT_QUEUE == "default"


def test_values_are_read_at_access(settings):
    settings.DJANGO_WORKFLOW = {"CONCURRENCY": 1}
    assert conf.CONCURRENCY == 1
    settings.DJANGO_WORKFLOW = {"CONCURRENCY": 2}
    assert conf.CONCURRENCY == 2


def test_an_unknown_key_is_an_error_that_names_the_known_ones():
    with pytest.raises(AttributeError, match="no setting 'CONCURENCY'; known: DATABASE, "):
        _ = conf.CONCURENCY


def test_the_defaults_and_a_sensible_configuration_pass_the_check(settings):
    settings.DJANGO_WORKFLOW = {}
    assert check_settings() == []
    settings.DJANGO_WORKFLOW = {
        "DATABASE": "default",
        "LISTEN_DATABASE": "default",
        "PREFETCH": 0,
        "LOG_LINES": 0,
        "GRACE": timedelta(0),
        "TIMEOUT": None,
        "RETENTION": timedelta(days=30),
        "RETRY": Retry(max_attempts=5),
        "EVENT_LEVEL": "task",
    }
    assert check_settings() == []


WRONG = {
    "unknown key": ({"CONCURENCY": 3}, "E002", "['CONCURENCY'] is unknown."),
    "database": ({"DATABASE": "nope"}, "E003", "['DATABASE'] names 'nope', which is not in DATABASES."),
    "listening": ({"LISTEN_DATABASE": "x"}, "E003", "['LISTEN_DATABASE'] names 'x', which is not in DATABASES."),
    "events": ({"EVENT_LEVEL": "all"}, "E005", "['EVENT_LEVEL'] must be one of run, step, task."),
    "rule": ({"OBJECT_PERMISSION": 7}, "E012", "['OBJECT_PERMISSION'] must be a function or the path of one, not 7."),
    "path of a rule": (
        {"OBJECT_PERMISSION": "nowhere.rule"},
        "E012",
        "['OBJECT_PERMISSION'] cannot be imported: No module named 'nowhere'.",
    ),
    "log level": ({"LOG_LEVEL": "loud"}, "E011", "['LOG_LEVEL'] must be the name of a level, such as INFO."),
    "seconds": ({"LEASE": 30}, "E006", "['LEASE'] must be a timedelta, not 30."),
    "no time": ({"MAX_DURATION": None}, "E006", "['MAX_DURATION'] must be a timedelta, not None."),
    "no lease": ({"LEASE": timedelta(0)}, "E006", "['LEASE'] must be positive, not 0:00:00."),
    "negative grace": ({"GRACE": timedelta(-1)}, "E006", "['GRACE'] must be positive, not -1 day, 0:00:00."),
    "ceiling": ({"MAX_TASKS": 10**7}, "E007", "['MAX_TASKS'] must be at most 1000000, not 10000000."),
    "text": ({"CONCURRENCY": "16"}, "E007", "['CONCURRENCY'] must be a whole number, not '16'."),
    "boolean": ({"CONCURRENCY": True}, "E007", "['CONCURRENCY'] must be a whole number, not True."),
    "no slot": ({"CONCURRENCY": 0}, "E007", "['CONCURRENCY'] must be positive, not 0."),
    "retry": ({"RETRY": 3}, "E009", "['RETRY'] must be a django_workflow.Retry, not 3."),
    "attempts": (
        {"RETRY": Retry(max_attempts=0)},
        "E009",
        "['RETRY'] has a problem: retry: max_attempts must be at least 1, not 0.",
    ),
}


@pytest.mark.parametrize(("values", "number", "message"), WRONG.values(), ids=WRONG)
def test_the_check_reports(settings, values, number, message):
    settings.DJANGO_WORKFLOW = values
    assert [(item.id, item.msg) for item in check_settings()] == [
        (f"django_workflow.{number}", f"DJANGO_WORKFLOW{message}")
    ]


def test_the_check_reports_a_setting_that_is_no_dictionary(settings):
    settings.DJANGO_WORKFLOW = ["CONCURRENCY"]
    assert [item.id for item in check_settings()] == ["django_workflow.E001"]


def test_the_check_reports_a_queue_that_cannot_be(settings):
    settings.DJANGO_WORKFLOW = {"DEFAULT_QUEUE": "Big Queue"}
    assert [item.id for item in check_settings()] == ["django_workflow.E008"]


def test_the_check_reports_a_database_that_is_not_postgresql(settings):
    settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3"}}
    assert [item.id for item in check_settings()] == ["django_workflow.E004"]


def test_the_check_reports_another_isolation_level(settings):
    engine = "django.db.backends.postgresql"
    settings.DATABASES = {"default": {"ENGINE": engine, "OPTIONS": {"isolation_level": IsolationLevel.SERIALIZABLE}}}
    assert [item.id for item in check_settings()] == ["django_workflow.E010"]


def test_all_mistakes_are_reported_at_once(settings):
    settings.DJANGO_WORKFLOW = {"A": 1, "B": 2, "LEASE": 3, "PREFETCH": -1}
    assert sorted(item.id[-4:] for item in check_settings()) == ["E002", "E002", "E006", "E007"]


def test_the_check_warns_of_flows_that_are_hardly_meant(flow, make_flow):
    flow.step(name="again", next=["again"])(lambda: None)
    make_flow("broken").step(name="only", depends_on=["nowhere"])(lambda: None)
    assert [(item.id, item.msg) for item in check_flows() if item.id.endswith("W001")] == [
        (
            "django_workflow.W001",
            f"Flow {flow.slug!r}: step 'again': it leads to itself without a condition and without a delay.",
        ),
        (
            "django_workflow.W001",
            f"Flow {flow.slug!r}: step 'again': a loop without a condition on any way; only its limits end it.",
        ),
    ]
