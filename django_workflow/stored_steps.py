"""Steps that are added to a stored flow: what is wrong with them, and what its row holds of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django_workflow import arguments, payload
from django_workflow.definition import drafts, elements, names
from django_workflow.definition.declare import as_list, exact
from django_workflow.definition.problems import Code, Path, Problem, problems_of
from django_workflow.definition.schemas import schema
from django_workflow.definition.validation.steps import MAP_OPTIONS, MOST_GUESSED
from django_workflow.definition.written import times
from django_workflow.exceptions import DefinitionError, InvalidArgument, PayloadError
from django_workflow.spelling import at_most, guess
from django_workflow.text import shown


@dataclass(frozen=True)
class NewStep:
    """A step as its author gave it.

    problems: what kept a part of it from being read.
    """

    name: Any
    kind: str
    depends_on: Sequence[str]
    options: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)

    @property
    def place(self) -> str:
        """What errors call it."""
        return f"step {shown(self.name)}"

    @property
    def path(self) -> Path:
        """Where a document has it."""
        return "steps", self.name if isinstance(self.name, str) else shown(self.name)

    def problem(self, code: Code, path: Path, message: str) -> Problem:
        """Return a problem of it.

        path: from the step on.
        """
        place = None if names.is_name(self.name) else self.place
        return Problem(code, (*self.path, *path), message, place=place)


def given(name: Any, kind: str, depends_on: Any, options: Mapping[str, Any]) -> NewStep:
    """Return one step; raises `InvalidArgument` where its dependencies are no texts."""
    explicit = [depends_on] if isinstance(depends_on, str) else arguments.texts(depends_on, "depends_on=")
    options = {option: as_list(value) if option == "next" else value for option, value in options.items()}
    return NewStep(exact(name), kind, explicit, options)


def several(steps: Any) -> list[NewStep]:
    """Return steps that are mappings of options; raises `InvalidArgument` for a list of something else."""
    found = []
    for number, step in enumerate(arguments.items(steps, "steps="), start=1):
        options = arguments.by_name(step, "each of steps=")
        if "name" not in options:
            raise InvalidArgument(f"each of steps= needs a name; number {number} has none: {shown(step)}")
        name, depends_on = options.pop("name"), options.pop("depends_on", ())
        kind = elements.SINGLE if options.get("over") is None and options.get("count") is None else elements.MAP
        try:
            found.append(given(name, kind, () if depends_on is None else depends_on, options))
        except InvalidArgument as error:
            torn = NewStep(exact(name), kind, (), options)
            found.append(replace(torn, problems=[torn.problem("bad_value", ("depends_on",), error.message)]))
    return found


@at_most(MOST_GUESSED)
def stored(steps: Sequence[NewStep], before: Iterable[str]) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return what a row holds of new steps, and everything that is wrong with them; `publish` judges the whole flow.

    before: the names of the steps that the flow has. A new step may depend on these and on every other new one.
    """
    taken = set(before)
    known = taken.union(step.name for step in steps if isinstance(step.name, str))
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for step in steps:
        row, misfits = _row(step)
        wrong = [*step.problems, *_misnamed(step, taken, known), *misfits]
        problems += wrong or _refused(step, row)
        rows.append(row)
        if isinstance(step.name, str):
            taken.add(step.name)
    return rows, problems


def _misnamed(step: NewStep, taken: Collection[str], known: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong with a step's name and with those that it depends on."""
    if not names.is_name(step.name):
        yield step.problem("bad_name", (), f"a name is {names.NAME_RULE}")
    elif step.name in names.RESERVED:
        yield step.problem("bad_name", (), "this name is reserved")
    elif step.name in taken:
        yield step.problem("duplicate", (), "it was added before")
    for source in step.depends_on:
        if source == step.name:
            yield step.problem("depends_on_itself", ("depends_on",), "it depends on itself")
        elif source not in known:
            message = f"it depends on {shown(source)}, which was not added before or with it{guess(source, known)}"
            yield step.problem("unknown_step", ("depends_on",), message)


def _row(step: NewStep) -> tuple[dict[str, Any], list[Problem]]:
    """Return what a row holds of a step, and what is wrong with its options."""
    row: dict[str, Any] = {"name": step.name, "kind": step.kind, "depends_on": list(step.depends_on)}
    mistaken = dict(_mistaken(step.options))
    problems = [step.problem(item.code, item.path, item.message) for item in times.given_as_numbers(step.options)]
    problems += [step.problem("bad_value", _path(option), message) for option, message in mistaken.items()]
    for option, value in step.options.items():
        if option in mistaken:
            continue
        try:
            written = drafts.stored_options({option: value})
        except DefinitionError as error:
            problems += [step.problem(item.code, item.path, item.message) for item in problems_of(error)]
        else:
            wrong = filter(None, map(schema.not_json, written.values()))
            problems += [step.problem("bad_value", _path(option), f"{option}= is {why}") for why in wrong]
            row |= written
    return row, problems


def _path(option: str) -> Path:
    """Return where a document has an option of a step, from the step on."""
    return ("map", option) if option in MAP_OPTIONS else (option,)


def _mistaken(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options whose values no row can hold, each with what it takes instead."""
    if not isinstance(options.get("over", ""), str | None):
        yield "over", f"over= is a path such as 'step.key' or 'input', not {options['over']!r}"
    if not isinstance(options.get("count", 0), int | None):
        yield "count", f"count= must be a whole number from 0, not {options['count']!r}"
    if not isinstance(options.get("handler", ""), str):
        yield "handler", f"handler= is the name of a registered function, not {options['handler']!r}"


def _refused(step: NewStep, row: Mapping[str, Any]) -> list[Problem]:
    """Return why the database would refuse the row of a step whose options are right."""
    try:
        payload.dumps(row, what=step.place)
    except PayloadError as error:
        return [Problem("bad_value", step.path, error.message, place="")]
    return []
