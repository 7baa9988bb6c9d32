"""Coming in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import POLICY

pytestmark = pytest.mark.browser


def test_login_page_is_clean(visit):
    visitor = visit()
    visitor.visit("/login/")
    expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert visitor.policies == {visitor.page.url: POLICY}
