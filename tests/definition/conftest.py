import pytest

from django_workflow.definition.registry import registry


@pytest.fixture(autouse=True)
def registry_as_before():
    """What a test declares is forgotten after it, so that no worker of another test publishes it."""
    tables = (registry._flows, registry._handlers, registry._callables)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)
