"""Buttons offer what makes sense and what the user may do."""

from __future__ import annotations

from django_workflow import pause_flow, pause_queue, resume_flow, testing
from django_workflow.models import FlowDefinition, Queue, Run
from django_workflow.permissions import PAUSE, VIEW
from django_workflow.web.acting import buttons
from tests.web.actions.acting import failed_run
from tests.web.conftest import user_with


class TestButtons:
    def names(self, user, run):
        return [button.name for button in buttons.buttons(user, Run.objects.select_related("flow").get(pk=run.id))]

    def test_only_what_makes_sense(self, operator, flow):
        run = flow.start({})
        assert self.names(operator, run) == ["pause", "cancel"]
        run.pause()
        assert self.names(operator, run) == ["resume", "cancel"]
        pause_flow(flow.slug)
        assert self.names(operator, run) == ["resume_flow", "cancel"]
        resume_flow(flow.slug)
        run.resume()
        testing.run_until_idle()
        assert self.names(operator, run) == ["retry"]
        assert self.names(operator, failed_run(flow)) == ["retry", "retry_all"]

    def test_only_what_the_user_may(self, viewer, flow, db):
        run = flow.start({})
        assert self.names(viewer, run) == []
        assert self.names(user_with("pauses", [VIEW, PAUSE]), run) == ["pause"]
        assert self.names(user_with("blind", [PAUSE]), run) == []

    def test_they_lead_to_pages_that_answer(self, client, operator, flow):
        runs = [flow.start({}), failed_run(flow)]
        for run in runs:
            for button in buttons.buttons(operator, run.run):
                assert client.get(button.url).status_code == 200

    def test_they_cost_no_statement(self, operator, flow, django_assert_num_queries):
        run = Run.objects.select_related("flow").get(pk=flow.start({}).id)
        operator.has_perm("django_workflow.view_run")
        with django_assert_num_queries(0):
            assert buttons.buttons(operator, run)
            assert buttons.step_buttons(operator, run, "first", "running")

    def test_buttons_of_steps(self, operator, viewer, flow):
        run = flow.start({}).run
        assert [item.name for item in buttons.step_buttons(operator, run, "first", "running")] == [
            "skip_step", "complete_step",
        ]  # fmt: skip
        assert buttons.step_buttons(operator, run, "last", None) == []
        assert buttons.step_buttons(viewer, run, "first", "running") == []
        settled = failed_run(flow).run
        assert [item.label for item in buttons.step_buttons(operator, settled, "first", "succeeded")] == [
            "Run again from here"
        ]

    def test_buttons_of_flows_and_queues(self, operator, viewer, flow):
        flow.start({})
        row = FlowDefinition.objects.get(slug=flow.slug)
        assert [item.name for item in buttons.flow_buttons(operator, row)] == ["start", "pause"]
        assert buttons.flow_buttons(viewer, row) == []
        pause_queue("default")
        queue = Queue.objects.get(name="default")
        assert [item.name for item in buttons.queue_buttons(operator, queue)] == ["resume"]
        assert buttons.queue_buttons(viewer, queue) == []
