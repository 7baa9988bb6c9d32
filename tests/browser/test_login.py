"""Coming in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_login_page_is_clean(visit):
    visitor = visit()
    visitor.visit("/login/")
    expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert visitor.page.evaluate("document.scripts.length") >= 0
    assert "default-src 'self'" in visitor.policies[visitor.page.url]
