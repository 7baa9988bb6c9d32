"""pytest fixtures for sites that use django_workflow; loaded by pytest itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def workflow_queues(transactional_db: None) -> Iterator[None]:
    """A committed database with empty queues, for tests with real workers; emptied again afterwards."""
    from django_workflow import testing  # noqa: PLC0415  pytest loads plugins before Django is set up

    testing.clean_queues()
    yield
    testing.clean_queues()
