"""What `django_workflow` offers by name."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import django_workflow
from django_workflow import RunHandle, exceptions


@pytest.mark.parametrize("word", django_workflow.__all__)
def test_every_public_word_can_be_had_and_says_what_it_is(word):
    value = getattr(django_workflow, word)
    assert inspect.getdoc(value)


def test_words_are_sorted_and_listed():
    assert list(django_workflow.__all__) == sorted(django_workflow.__all__)
    assert dir(django_workflow) == sorted(django_workflow.__all__)


def test_a_verb_of_a_run_is_a_method_a_function_and_the_twin_of_each():
    """It is written as the engine's verb, as a method of the handle, and as a word of the package."""
    methods = {name for name, item in vars(RunHandle).items() if inspect.isfunction(item) and not name.startswith("_")}
    twins = {name for name in methods if inspect.iscoroutinefunction(getattr(RunHandle, name))}
    assert twins == {f"a{name}" if name != "wait" else "await_" for name in methods - twins}
    for name in methods & set(django_workflow.__all__) - {"result", "refresh"}:
        function, method = getattr(django_workflow, name), getattr(RunHandle, name)
        assert (function.__module__, function.__qualname__) == ("django_workflow", name)
        assert getattr(django_workflow, name) is function
        assert [*inspect.signature(function).parameters] == ["run", *[*inspect.signature(method).parameters][1:]]


def test_unknown_word_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        django_workflow.nonsense  # noqa: B018  reading it is the test


def test_package_can_be_imported_before_django_is_set_up():
    code = "import django_workflow; django_workflow.Retry; django_workflow.WorkflowError; import sys; "
    code += "sys.exit('django.apps' in sys.modules and __import__('django.apps').apps.apps.ready)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_error_is_a_workflow_error_whose_message_is_its_docstring():
    errors = [item for item in vars(exceptions).values() if inspect.isclass(item) and issubclass(item, Exception)]
    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, django_workflow.WorkflowError)
        assert error is exceptions.DefinitionError or str(error()) == inspect.cleandoc(error.__doc__)
        assert getattr(django_workflow, error.__name__) is error


def test_errors_carry_fields():
    error = django_workflow.PayloadError("too large", path=".a", size=7)
    assert (str(error), error.message, error.path, error.size) == ("too large", "too large", ".a", 7)
    refused = django_workflow.NotSupported("No.", remedy="all", run_id=3)
    assert (str(refused), refused.refusal, refused.remedy, refused.run_id) == (
        "No. Repeat everything with mode='all'.", "No.", "all", 3,
    )  # fmt: skip
    assert refused.worded({"all": "Press the button."}) == "No. Press the button."
    problems = django_workflow.DefinitionError(["one", "two"], flow="f")
    assert problems.problems == ["one", "two"]
    assert str(problems) == "Flow 'f' has 2 problems:\n  - one\n  - two"


def test_handlers_stay_plain_functions(flow):
    @flow.step
    def add(input):
        return input + 1

    @flow.map(over="add")
    def each(item):
        return item

    assert (add(1), each(item=2)) == (2, 2)
