"""Pages that are refused or not there say so in the site's own look, and lead on."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.web.markup import read

BOARD, RUNS = "/workflow/", "/workflow/runs/"
NO_RUN = f"{RUNS}01980000-0000-7000-8000-000000000000/"
MISSING = [NO_RUN, f"{NO_RUN}actions/pause/", "/workflow/flows/unknown/start/"]


def header_and_main(answer):
    page = read(answer.text)
    return page.one("header"), page.one("main")


@pytest.mark.parametrize("path", MISSING)
def test_what_is_not_there_leads_to_the_board_and_the_runs(client_of, operator, path):
    answer = client_of(operator).get(path)
    assert answer.status_code == 404
    _, main = header_and_main(answer)
    assert "There is no" in main.text
    assert [link.attributes["href"] for link in main.all("a")] == [BOARD, RUNS]


def test_mistyped_id_of_a_run_is_told_from_one_that_is_not_there(client_of, viewer):
    answer = client_of(viewer).get(f"{RUNS}0198-<b>/")
    assert answer.status_code == 404
    assert "'0198-<b>' is no id of a run." in header_and_main(answer)[1].text


def test_who_may_look_is_led_from_what_is_forbidden_to_the_board(client_of, viewer, flow):
    flow.step(name="only")(lambda: 1)
    answer = client_of(viewer).get(f"{RUNS}{flow.start().id}/actions/pause/")
    assert answer.status_code == 403
    _, main = header_and_main(answer)
    assert "You are logged in as viewer" in main.text
    assert main.one("a", css="button-primary").attributes["href"] == BOARD


def test_who_may_see_nothing_is_led_to_where_somebody_else_logs_in(client_of, stranger):
    answer = client_of(stranger).get(RUNS)
    assert answer.status_code == 403
    _, main = header_and_main(answer)
    assert "who may not look at runs" in main.text
    assert not main.all("a", css="button-primary")
    assert main.one("a").attributes["href"] == f"{reverse('admin:login')}?next=%2Fworkflow%2Fruns%2F"


def test_refused_pages_are_not_kept(client_of, stranger):
    assert client_of(stranger).get(RUNS)["Cache-Control"] == "private, no-store"


def test_staff_log_out_at_the_admin_where_the_site_has_no_page_for_it(client_of, superuser, viewer, settings):
    settings.LOGOUT_REDIRECT_URL = None
    client = client_of(superuser)
    form = header_and_main(client.get(BOARD))[0].one("form")
    assert form.attributes["action"] == reverse("admin:logout")
    client.post(form.attributes["action"])
    assert client.get(BOARD).status_code == 302
    assert not header_and_main(client_of(viewer).get(BOARD))[0].all("form"), "the admin would not log them out"


def test_site_logs_out_at_its_own_page_and_comes_back_as_somebody_else(client_of, stranger, settings):
    settings.ROOT_URLCONF, settings.LOGIN_URL = "example_project.urls", "login"
    client = client_of(stranger)
    header, main = header_and_main(client.get(BOARD))
    assert header.one("form").attributes["action"] == reverse("logout")
    form = main.one("form")
    data = {field.attributes["name"]: field.attributes["value"] for field in form.all("input")}
    answer = client.post(form.attributes["action"], data)
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=%2Fworkflow%2F")


def test_pages_that_the_site_does_not_know_have_the_same_look(client_of, operator, settings):
    settings.ROOT_URLCONF, settings.DEBUG = "example_project.urls", False
    answer = client_of(operator).get("/workflow/nothing/of/this/")
    assert answer.status_code == 404
    assert header_and_main(answer)[1].one("a", css="button-primary").attributes["href"] == BOARD
