import contextlib
import doctest
import inspect
import logging.config
import re
import shlex

import pytest
from django.core.management import call_command

from django_workflow.checks import check_settings
from django_workflow.definition import documents
from tests.commands.shell import Terminal
from tests.docs.pages import DOCUMENTS, FOLLOWED, MISTAKES, ROOT, TUTORIAL, blocks, pages

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
EXECUTED = ("python", "pycon")


def examples(page):
    return [block for block in blocks(page) if (block.kind in EXECUTED and block.is_executed) or block.is_transcript]


PAGES = [page for page in pages() if page not in (TUTORIAL, DOCUMENTS, MISTAKES) and examples(page)]


@pytest.mark.usefixtures("names_are_free")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_a_page_run_in_order(page, db, settings, monkeypatch):
    names = {"__name__": "docs"}
    for block in examples(page):
        if block.kind == "python":
            # blank lines before it, so that tracebacks name the page's own lines
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
            check_workflow_settings(block, names, settings, monkeypatch)
            check_logging(block, names)
        elif block.is_transcript:
            follow_transcript(block, names.get("ids", {}))
        else:
            run_session(block, names)
    call_tests(names, with_workers=False)


@pytest.mark.slow
@pytest.mark.usefixtures("names_are_free")
@pytest.mark.parametrize("page", [page for page in PAGES if "(workflow_queues)" in page.read_text()])
def test_examples_of_a_page_with_real_workers(page, workflow_queues):
    names = {"__name__": "docs"}
    for block in examples(page):
        if block.kind == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    assert call_tests(names, with_workers=True)


def call_tests(names, *, with_workers):
    called = 0
    for name, function in list(names.items()):
        if name.startswith("test_") and inspect.isfunction(function):
            parameters = inspect.signature(function).parameters
            if ("workflow_queues" in parameters) == with_workers:
                function(**dict.fromkeys(parameters))
                called += 1
    return called


def check_workflow_settings(block, names, settings, monkeypatch):
    """What a page tells to put into the settings passes the system checks."""
    if "DJANGO_WORKFLOW = " not in block.text:
        return
    with monkeypatch.context() as patch:
        for alias, database in names.get("DATABASES", {}).items():
            patch.setitem(settings.DATABASES, alias, database)
        patch.setattr(settings, "DJANGO_WORKFLOW", names["DJANGO_WORKFLOW"], raising=False)
        assert check_settings() == [], block.place


def check_logging(block, names):
    """What a page tells to log with formats records of tasks, and all others."""
    if "LOGGING = " in block.text:
        told = logging.config.DictConfigurator(names["LOGGING"])
        for formatter in told.config["formatters"].values():
            record = logging.LogRecord("django_workflow", logging.WARNING, "", 1, "it failed", None, None)
            assert "it failed" in told.configure_formatter(formatter).format(record)


def run_session(block, names):
    session = doctest.DocTestParser().get_doctest(block.text, names, block.place, str(block.page), block.line - 1)
    assert session.examples, f"{block.place}: no example begins with >>>"
    session.globs = names
    told = []
    doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(session, out=told.append, clear_globs=False)
    assert not told, "".join(told)


def follow_transcript(block, ids):
    """Type what the block shows after each $, as on a terminal."""
    for line, expected in re.findall(r"^\$ python manage\.py (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        out = Terminal()
        words = [str(ids.get(word, word)) for word in shlex.split(line)]
        with contextlib.suppress(SystemExit):
            call_command(*words, stdout=out, stderr=out, no_color=True)
        told = out.getvalue()
        for shown, real in ids.items():
            told = told.replace(str(real), shown).replace(str(real)[-12:], shown)
        if expected:
            assert doctest.OutputChecker().check_output(expected, told, FLAGS), f"{block.place}: {line}\n{told}"


@pytest.mark.parametrize(
    "block",
    [block for page in pages() for block in blocks(page) if block.kind == "yaml" and block.text.startswith("slug:")],
    ids=lambda block: block.place,
)
def test_documents_on_pages_can_be_read(block):
    if "wrong" not in block.options.get("caption", ""):
        assert documents.read(block.text).slug


def test_blocks_that_are_not_executed_are_rare():
    marked = [
        block.place for page in pages() if page not in FOLLOWED for block in blocks(page) if not block.is_executed
    ]
    assert len(marked) <= 5, marked


def commands():
    found = []
    for page in pages():
        for block in blocks(page):
            lines = block.text.replace("\\\n", " ").splitlines()
            if any(line.startswith("$ ") for line in lines):
                lines = [line for line in lines if line.startswith("$ ")]  # the others are answers
            found += [(block.place, line.split("manage.py ", 1)[1]) for line in lines if "manage.py " in line]
    return found


@pytest.mark.parametrize(("place", "line"), commands())
def test_commands_exist_and_know_their_options(place, line):
    from django.core.management import get_commands, load_command_class

    words = shlex.split(line.split("#")[0].split("&")[0].split(" | ")[0].split(" > ")[0])
    if words[0] in {"makemigrations", "migrate", "startapp", "shell", "check", "collectstatic", "test", "pgtrigger"}:
        return  # Django's and pgtrigger's own
    assert words[0] in get_commands(), place
    command = load_command_class(get_commands()[words[0]], words[0])
    command.create_parser("manage.py", words[0]).parse_args(words[1:])


def test_doctor_has_no_errors_to_tell_of_a_fresh_database(db, capsys):
    try:
        call_command("workflow_doctor")
    except SystemExit:
        pytest.fail(capsys.readouterr().out)
