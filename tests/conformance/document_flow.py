"""Documents in this package's own format: their steps do what the case's script says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django_workflow.definition import documents
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.startable import Startable


class DocumentFlow(Startable):
    """The flow of a document under a slug of its own, with handlers that no other document has."""

    def __init__(self, text: str, slug: str, handlers: Mapping[str, Callable[..., Any]]) -> None:
        self.slug = slug
        for name, function in handlers.items():
            registry.add_handler(f"{slug}.{name}", function)
        document = documents.parse(text, "yaml")
        steps = tuple(replace(step, handler=f"{slug}.{step.handler}") for step in document.draft.steps)
        self.spec = replace(document, draft=replace(document.draft, slug=slug, steps=steps)).compile()

    def current_spec(self) -> FlowSpec:
        """Return the document's definition."""
        return self.spec
