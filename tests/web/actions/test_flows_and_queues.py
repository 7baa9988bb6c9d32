"""A flow or a queue is paused and resumed."""

from __future__ import annotations

from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_workflow.models import FlowDefinition, Queue
from tests.web.actions.acting import confirm, text_of, told


class TestFlowsAndQueues:
    def test_pause_and_resume_a_flow(self, client, flow):
        run = flow.start({})
        alone = flow.start({})
        alone.pause()
        url = reverse("django_workflow:flow_action", args=[flow.slug, "pause"])
        assert "1 run will be held" in text_of(client.get(url))
        answer = confirm(client, url, reason="wrong prices")
        row = FlowDefinition.objects.get(slug=flow.slug)
        assert (row.paused_by, row.pause_reason, run.status) == ("operator", "wrong prices", "paused")
        assert told(answer) == [f"Flow {flow.slug} was paused."]
        assert "is already paused" in told(client.post(url, {"confirm": "yes"}))[-1]
        url = reverse("django_workflow:flow_action", args=[flow.slug, "resume"])
        text = text_of(client.get(url))
        assert "1 run will be resumed" in text
        assert "1 run was paused on its own and stays paused" in text
        confirm(client, url)
        assert (run.status, alone.status) == ("running", "paused")
        assert client.get(reverse("django_workflow:flow_action", args=["nowhere", "pause"])).status_code == 404

    def test_pause_and_resume_a_queue(self, client, flow):
        flow.start({})
        url = reverse("django_workflow:queue_action", args=["default", "pause"])
        assert "1 waiting task will not be taken" in text_of(client.get(url))
        confirm(client, url, reason="payments are down")
        row = Queue.objects.get(name="default")
        assert (row.paused_by, row.pause_reason) == ("operator", "payments are down")
        assert LogEntry.objects.get().change_message == "Paused: payments are down"
        assert "is already paused" in told(client.post(url, {"confirm": "yes"}))[-1]
        confirm(client, reverse("django_workflow:queue_action", args=["default", "resume"]))
        assert Queue.objects.get(name="default").paused_at is None
        assert client.get(reverse("django_workflow:queue_action", args=["nowhere", "pause"])).status_code == 404

    def test_a_queue_that_no_text_can_name_is_not_found(self, client, db):
        for name in ("pause", "resume"):
            assert client.get(f"/workflow/queues/%00/actions/{name}/").status_code == 404
