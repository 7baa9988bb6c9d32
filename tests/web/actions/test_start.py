"""A form starts a run, once, and tells what is wrong with what was typed."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_workflow import FlowBuilder, pause_flow, resume_flow
from django_workflow.models import FlowDefinition, Run
from tests.web.actions.acting import confirm, text_of, told


class TestStart:
    @pytest.fixture
    def orders(self, make_flow):
        schema = {
            "type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
        }  # fmt: skip
        flow = make_flow("startable", input_schema=schema)
        flow.step(name="only")(lambda input: input)
        flow.start({"sku": "first"}).cancel()
        return flow

    def url(self, flow):
        return reverse("django_workflow:start", args=[flow.slug])

    def test_a_run_is_started_with_all_that_the_form_says(self, client, orders):
        data = {
            "input": '{"sku": "A"}',
            "title": "Order A",
            "labels": "team=a\n\n tier = gold ",
            "idempotency_key": "k1",
        }
        answer = confirm(client, self.url(orders), **data)
        run = Run.objects.of_flow(orders.slug).latest("created_at")
        assert answer.url == reverse("django_workflow:run", args=[run.pk])
        assert (run.input, run.title, run.labels) == ({"sku": "A"}, "Order A", {"team": "a", "tier": "gold"})
        assert (run.idempotency_key, run.started_by) == ("k1", "operator")
        assert LogEntry.objects.get().change_message == "Started."
        assert told(answer) == [f"A run of {orders.slug} was started."]

    def test_a_second_post_and_a_known_key_find_the_first_run(self, client, orders):
        page = client.get(self.url(orders))
        run_id = re.search('name="run_id" value="([^"]+)"', page.content.decode())[1]
        for _ in range(2):
            answer = client.post(self.url(orders), {"run_id": run_id, "input": '{"sku": "A"}', "idempotency_key": "k"})
        assert told(answer)[-1] == "This run was started before."
        answer = confirm(client, self.url(orders), input='{"sku": "B"}', idempotency_key="k")
        assert told(answer)[-1] == "This run was started before."
        assert Run.objects.of_flow(orders.slug).count() == 2
        assert LogEntry.objects.count() == 1

    def test_an_id_of_another_flows_run_is_refused(self, client, orders, flow):
        other = flow.start({})
        page = client.post(self.url(orders), {"run_id": str(other.id), "input": '{"sku": "A"}'})
        assert "This form was used for another flow" in text_of(page)

    def test_the_form_shows_a_sample_and_the_schema(self, client, orders):
        page = unescape(client.get(self.url(orders)).content.decode())
        assert '{\n  "sku": "",\n  "n": 0\n}</textarea>' in page
        assert "What the flow takes" in page

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('{"sku": "A"', "Not JSON at line 1, column 12"),
            ('{"sku": 7, "n": "x"}', "It does not fit the schema at .sku: 7 is not of type 'string'"),
            ("", "It does not fit the schema at its top: None is not of type 'object'"),
            ('{"sku": "\\u0000"}', "text with a NUL character"),
            ('{"sku": NaN}', "is not a JSON number"),
            ("[" * 100_000, "Not JSON"),
        ],
    )
    def test_what_is_wrong_with_an_input_is_told_and_what_was_typed_is_kept(self, client, orders, text, expected):
        before = Run.objects.count()
        page = client.post(self.url(orders), {"input": text, "title": "kept"})
        assert page.status_code == 200
        assert expected in text_of(page)
        assert text in unescape(page.content.decode())
        assert 'value="kept"' in page.content.decode()
        assert Run.objects.count() == before

    def test_labels_that_are_none_are_told(self, client, orders):
        page = client.post(self.url(orders), {"input": '{"sku": "A"}', "labels": "team"})
        assert "'team' is not a label: write name=value." in text_of(page)

    def test_a_flow_that_is_not_declared_any_more_is_history(self, client, orders):
        FlowDefinition.objects.create(slug="gone")
        assert client.get(reverse("django_workflow:start", args=["gone"])).status_code == 404

    def test_a_definition_with_problems_is_told(self, client, unique, db):
        flow = FlowBuilder.create_flow(unique("empty"))
        page = client.get(self.url(flow))
        assert "it has no steps" in text_of(page)
        assert ">Start</button>" not in page.content.decode()
        assert client.post(self.url(flow), {"input": ""}).status_code == 200

    def test_a_paused_flow_says_so(self, client, orders):
        pause_flow(orders.slug, reason="stock-taking")
        assert "The flow is paused: stock-taking." in text_of(client.get(self.url(orders)))
        resume_flow(orders.slug)
