"""The run page: what it shows, to whom, and what it costs."""

from __future__ import annotations

from tests.web.stories import rich_run


def test_page_of_a_rich_run(make_flow, client_of, operator):
    handle = rich_run(make_flow)
    response = client_of(operator).get(f"/workflow/runs/{handle.id}/")
    assert response.status_code == 200
    assert "Order 7 of Ann" in response.text
