"""The documents that are shipped, and their handlers."""

from __future__ import annotations

import pytest

import example_project.examples.documents  # noqa: F401  registers the handlers
from tests.docs.pages import DOCS

SHIPPED = sorted((DOCS / "examples").glob("*.yaml"))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.stem)
def shipped(request):
    """The text of a shipped document."""
    return request.param.read_text()
