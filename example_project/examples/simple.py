"""Three steps in a row.

A step is a plain function. What it depends on is what its parameters name: `input` is what the run was
started with, every other name is a step, and the parameter receives that step's output.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from django_workflow import Flow

TEXT = """
The woods are lovely, dark and deep, but I have promises to keep, and miles to go before I sleep,
and miles to go before I sleep.
"""

word_count = Flow("word_count", title="The words of a text")


@word_count.step
def words(input: str) -> list[str]:
    """Split the run's input into words."""
    return re.findall(r"[a-z']+", input.lower())


@word_count.step
def counts(words: list[str]) -> dict[str, int]:
    """Count them; runs after `words`, because it names it."""
    return dict(Counter(words))


@word_count.step
def most_frequent(counts: dict[str, int]) -> list[str]:
    """Choose five; nothing follows, so this is the output of the run."""
    return sorted(counts, key=lambda word: (-counts[word], word))[:5]


def run(say: Callable[[str], object]) -> None:
    """Execute the flow here and tell what it came to."""
    result = word_count.execute(TEXT).raise_for_status()
    say(f"The run {result.status}; its output is what the last step returned:")
    say(f"  {', '.join(result['most_frequent'])}")
    say("The same on a worker: word_count.start(text) returns a handle at once, handle.wait() the result.")
