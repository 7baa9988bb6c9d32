"""A flow built from data at run time.

Somebody chooses in a form what a text is to be measured by; the flow is made of that choice. It is
stored in the database: what it does comes from functions registered by name, so a row never brings code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django_workflow import FlowBuilder, RunResult, StoredStep, UnknownFlow, execute_dynamic, handler

if TYPE_CHECKING:
    from django_workflow.builder import StoredFlow
    from django_workflow.worker.jobs.context import Context

CHOICE = ("words", "sentences", "longest_word")
TEXT = "A workflow is stored. It outlives the process that started it, and the machine, too."


@handler("text.words")
def words(input: dict[str, Any]) -> int:
    """Count words."""
    return len(re.findall(r"\w+", input["text"]))


def distinct_words(input: dict[str, Any]) -> int:
    """Count words, each one once; not registered."""
    return len(set(re.findall(r"\w+", input["text"].lower())))


@handler("text.sentences")
def sentences(input: dict[str, Any]) -> int:
    """Count sentences."""
    return len(re.findall(r"[.!?]+", input["text"]))


@handler("text.longest_word")
def longest_word(input: dict[str, Any]) -> str:
    """Find the longest word."""
    return max(re.findall(r"\w+", input["text"]), key=len, default="")


@handler("text.collect")
def collect(input: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Put together what was chosen; the context reads the output of any step by name."""
    return {measure: ctx.output(measure) for measure in input["measures"]}


def stored_flow(slug: str, measures: Sequence[str]) -> StoredFlow:
    """Return the stored flow of that name, built on first use."""
    with suppress(UnknownFlow):
        return FlowBuilder.get_flow(slug)
    steps = [StoredStep(name=measure, handler=f"text.{measure}") for measure in measures]
    steps.append(StoredStep(name="collect", depends_on=measures, handler="text.collect"))
    return FlowBuilder.create_flow(slug, title="Measures of a text", steps=steps)


def run(say: Callable[[str], object]) -> None:
    """Build the flow, execute it, and once more with another function for one step."""
    flow = stored_flow("text_measures", CHOICE)
    say(f"Stored flow {flow.slug!r}, its graph in Mermaid's language:\n")
    say(flow.to_mermaid() + "\n")
    say(f"With the registered functions:   {measured(flow, {})}")
    # For one run here a step may be given another function, registered or not.
    say(f"With another one for `words`:    {measured(flow, {'words': distinct_words})}")
    say("On workers: execute_dynamic(flow, input, workers=True); every function must be registered then.")


def measured(flow: StoredFlow, step_functions: dict[str, Callable[..., Any]]) -> Any:
    """Execute the stored flow with the functions given and return what it collected."""
    measures = [step["name"] for step in flow.steps if step["name"] != "collect"]
    result = execute_dynamic(flow, {"text": TEXT, "measures": measures}, step_functions)
    assert isinstance(result, RunResult)  # a handle is returned for workers only
    return result.raise_for_status()["collect"]
