"""Several runs are acted on at once, and those that cannot be are told apart."""

from __future__ import annotations

import re
import uuid

from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_workflow import testing
from django_workflow.models import Run
from django_workflow.operations.several import SeveralRuns
from django_workflow.web.acting import pages
from tests.web.actions.acting import failed_run, text_of, told


class TestSelections:
    def ids(self, *runs):
        return {"ids": [str(run.id) for run in runs]}

    def test_those_that_cannot_be_acted_on_are_told_apart(self, client, flow):
        live = [flow.start({}) for _ in range(3)]
        url = reverse("django_workflow:runs_action", args=["cancel"])
        settled = flow.start({})
        settled.cancel()
        testing_run = failed_run(flow)
        live = [run for run in live if run.status == "running"] or [flow.start({}) for _ in range(3)]
        chosen = {"ids": [*self.ids(*live, settled, testing_run)["ids"], str(uuid.uuid4())]}
        page = client.get(url, chosen)
        assert "3 of 6 will be cancelled; 1 already cancelled; 1 ended; 1 does not exist." in text_of(page)
        assert "3 waiting tasks will be cancelled" in text_of(page)
        answer = client.post(url, {**chosen, "confirm": "yes", "reason": "all wrong"})
        assert answer.url == reverse("django_workflow:run_list")
        assert [run.status for run in live] == ["cancelled"] * 3
        assert "3 of 6 were cancelled." in told(answer)[0]
        assert LogEntry.objects.count() == 3

    def test_a_selection_may_be_posted_to_be_asked_about(self, client, flow):
        runs = [flow.start({}) for _ in range(2)]
        page = client.post(reverse("django_workflow:runs_action", args=["pause"]), self.ids(*runs))
        assert page.status_code == 200
        assert "2 of 2 will be paused." in text_of(page)
        assert re.findall('name="ids" value="([^"]*)"', page.content.decode()) == [f"{runs[0].id},{runs[1].id}"]
        assert {run.status for run in runs} == {"running"}

    def test_retry_of_several_and_once_more(self, client, flow):
        runs = [failed_run(flow), failed_run(flow)]
        url = reverse("django_workflow:runs_action", args=["retry"])
        page = client.get(url, self.ids(*runs))
        assert "2 failed tasks will run again" in text_of(page)
        data = {**self.ids(*runs), "confirm": "yes"}
        data["asked_at"] = re.search('name="asked_at" value="([^"]+)"', page.content.decode())[1]
        for _ in range(2):
            answer = client.post(url, data)
            testing.run_until_idle()
        assert Run.objects.filter(retry_of__in=[run.id for run in runs]).count() == 2
        assert "has already been retried" in told(answer)[-1]

    def test_one_that_settles_meanwhile_stops_no_other(self, client, flow, monkeypatch):
        runs = [flow.start({}) for _ in range(3)]
        select = SeveralRuns.select

        def then_settled(*args):
            found = select(*args)
            runs[0].cancel()
            Run.objects.filter(pk=runs[0].id)
            return found

        monkeypatch.setattr(SeveralRuns, "select", then_settled)
        answer = client.post(
            reverse("django_workflow:runs_action", args=["pause"]), {**self.ids(*runs), "confirm": "yes"}
        )
        assert [run.status for run in runs] == ["cancelled", "paused", "paused"]
        assert "2 of 3 were paused." in told(answer)[0]

    def test_as_many_as_may_be_chosen_can_be_confirmed(self, client, flow):
        run = flow.start({})
        ids = [str(run.id), *(str(uuid.uuid4()) for _ in range(pages.MAX_SELECTED - 1))]
        url = reverse("django_workflow:runs_action", args=["cancel"])
        page = client.post(url, {"ids": ",".join(ids)})
        fields = re.findall(r'<(?:input|button|textarea)[^>]* name="(\w+)"', page.content.decode())
        assert len(fields) < 10
        given = re.search('name="ids" value="([^"]*)"', page.content.decode())[1]
        assert client.post(url, {"ids": given, "confirm": "yes"}).status_code == 302
        assert run.status == "cancelled"

    def test_what_is_no_id_or_too_much_is_not_found(self, client, db):
        url = reverse("django_workflow:runs_action", args=["cancel"])
        assert client.get(url, {"ids": "x"}).status_code == 404
        many = ",".join(str(uuid.uuid4()) for _ in range(pages.MAX_SELECTED + 1))
        assert client.post(url, {"ids": many}).status_code == 404
        assert "0 of 0" in text_of(client.get(url))
        assert client.get(reverse("django_workflow:runs_action", args=["skip_step"])).status_code == 404
