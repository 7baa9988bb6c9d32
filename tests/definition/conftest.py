"""Definitions by names that the site has, too."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _names_are_free(names_are_free):
    """A definition is compiled here, not executed beside the site's."""
