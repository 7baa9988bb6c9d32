"""No statement of a retry, or of ending a step by hand, scans a hot table."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflow import AlreadySettled, dead_letters, dismiss_dead_letters, retry, retry_dead_letters
from django_workflow.engine.retrying.rehearsal import rehearse
from django_workflow.engine.retrying.request import RetryRequest
from tests.control.retrying.stories import ONCE, start
from tests.plans import scanned


def test_no_statement_of_a_retry_or_of_ending_a_step_scans_a_hot_table(make_flow, story, crowded):
    flow = make_flow("planned", retry=ONCE)
    flow.step(name="root")(lambda: story.did("root", [1, 2, 3]))
    flow.map(name="tolerant", over="root", tolerate=1)(lambda item: story.did(("tolerant", item), item))
    flow.map(name="each", over="root", max_parallel=1)(lambda item: story.did(("each", item), item))
    flow.step(name="join", when="input == None")(lambda tolerant, each: 1)
    story.broken = {("tolerant", 2), ("each", 2)}
    old = start(flow)
    with CaptureQueriesContext(connection) as captured:
        assert rehearse(old.id, RetryRequest(input=None, version="latest")).executed_count
        new = old.retry(input=None, version="latest")
        new.skip_step("each", by="ann")
        new.complete_step("join", 1)
        with pytest.raises(AlreadySettled):
            new.skip_step("join")
        assert dead_letters(limit=1) == []
        again = start(flow)
        letters = dead_letters()
        dismiss_dead_letters([letters[0].task_id], "known")
        retry_dead_letters([letter.task_id for letter in letters[1:]])
        retry(again)
    assert scanned(query["sql"] for query in captured.captured_queries) == {}
