"""Cases: a document and, before it, what it is run with and what it must come to.

A file holds two texts with a line `---` between them. The first says, in YAML:
    input: what the run is started with
    script: by task, what its action `work` does: a value is returned, {fail: message} is raised, {fails_with: value}
        fails with a result. A list is one entry for each time the task is executed, the last one for all later ones;
        with `items:` an entry for each item, which is itself a list of attempts or one entry for all.
    expect: status, output, counts, errors (a part of each error, in any order), error (a part of what ended the run);
        or refused: parts of all the problems, in order.
The second is the document as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from django_workflow import DefinitionError, Flow
from django_workflow.contrib.orquesta import ActionFailed
from django_workflow.runs import RunResult
from tests.conformance.document_flow import DocumentFlow

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A document and what it must come to."""

    kind: str
    name: str
    text: str
    says: Mapping[str, Any]

    @property
    def slug(self) -> str:
        """The name of its flow."""
        return f"conformance_{self.kind}_{self.name.replace('/', '_')}"

    @property
    def expected(self) -> Mapping[str, Any]:
        """What must come of it."""
        return self.says["expect"]

    @property
    def is_refused(self) -> bool:
        """Whether there is no flow to run."""
        return "refused" in self.expected

    def flow(self) -> Any:
        """Declare the flow; raises `DefinitionError`."""
        return KINDS[self.kind](self)

    def check(self, result: RunResult) -> None:
        """Compare a result with all that is expected."""
        expected = self.expected
        told = f"{self.name}: {result.status}, {result.output}, {result.counts}, {result.errors}"
        assert result.status == expected["status"], told
        for part in ("output", "counts"):
            if part in expected:
                assert getattr(result, part) == expected[part], told
        errors = [f"{item['step']}: {item['class']}: {item['message']}" for item in result.errors]
        wanted = expected.get("errors", [])
        assert len(errors) == len(wanted), told
        assert any(
            all(part in error for part, error in zip(wanted, order, strict=True))
            for order in itertools.permutations(errors)
        ), told
        if "error" in expected:
            assert expected["error"] in (result.error or {})["message"], told

    def check_refusal(self, error: DefinitionError) -> None:
        """Compare the problems of a refused document with those expected."""
        wanted = self.expected["refused"]
        assert len(error.problems) == len(wanted), error.message
        for part, problem in zip(wanted, error.problems, strict=True):
            assert part in problem, error.message


def cases(kind: str) -> list[Case]:
    """Return all cases of a kind, by name."""
    return sorted(_read(kind), key=lambda case: case.name)


def _read(kind: str) -> Iterator[Case]:
    folder = FOLDER / kind
    for path in folder.rglob("*.yaml"):
        head, _, text = path.read_text().partition("\n---\n")
        name = str(path.relative_to(folder).with_suffix(""))
        yield Case(kind, name, text, yaml.safe_load(head))


def actions(case: Case) -> dict[str, Callable[..., Any]]:
    """Return the functions that a document may use; what `work` does is the case's to say."""
    script = case.says.get("script", {})

    def work(ctx: Any, **inputs: Any) -> Any:
        return _play(script.get(ctx.step), ctx, inputs)

    async def work_async(ctx: Any, **inputs: Any) -> Any:
        return _play(script.get(ctx.step), ctx, inputs)

    return {
        "core.echo": lambda message: message,
        "core.fail": _fail,
        "math.add": lambda a, b: a + b,
        "math.multiply": lambda a, b: a * b,
        "work": work,
        "work.async": work_async,
        "where": lambda ctx: {"step": ctx.step, "index": ctx.index, "attempt": ctx.attempt},
    }


def _fail(message: str = "failed") -> None:
    raise RuntimeError(message)


def _play(entry: Any, ctx: Any, inputs: Mapping[str, Any]) -> Any:
    """Do what the script says for this execution; without a word from it, give back the inputs."""
    if isinstance(entry, Mapping) and "items" in entry:
        entry = entry["items"][ctx.index]
    if isinstance(entry, list):
        # a passed task is not tried again, so passes and attempts add up
        entry = entry[min(ctx.iteration - 1 + ctx.attempt - 1, len(entry) - 1)]
    if isinstance(entry, Mapping) and "fail" in entry:
        raise RuntimeError(entry["fail"])
    if isinstance(entry, Mapping) and "fails_with" in entry:
        raise ActionFailed(entry["fails_with"])
    return dict(inputs) if entry is None else entry


def _orquesta(case: Case) -> Any:
    return Flow.from_orquesta(case.text, actions=actions(case), slug=case.slug)


def _native(case: Case) -> Any:
    return DocumentFlow(case.text, case.slug, actions(case))


#: How the flow of a document is declared, by its kind; each has a folder of its name.
KINDS: Mapping[str, Callable[[Case], Any]] = {"native": _native, "orquesta": _orquesta}
