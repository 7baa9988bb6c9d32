"""Options that flows and steps have alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_workflow.definition import names
from django_workflow.definition.problems import Report
from django_workflow.definition.validation import retry
from django_workflow.definition.validation.amounts import check_time
from django_workflow.text import TITLE, is_storable, shown


def check_title(title: Any, report: Report) -> None:
    """Check what people call a flow or a step."""
    if not isinstance(title, str) or not is_storable(title):
        report("bad_value", ("title",), f"title must be text, not {shown(title)}")
    elif len(title) > TITLE:
        report("bad_value", ("title",), f"title has {len(title):,} characters; {TITLE} are allowed")


def check_shared(options: Mapping[str, Any], report: Report) -> None:
    """Check the options that a step may take from its flow."""
    queue, executor = options.get("queue"), options.get("executor")
    if queue is not None and not names.is_queue_name(queue):
        report("bad_name", ("queue",), f"queue {shown(queue)}: a queue's name is {names.QUEUE_RULE}")
    if executor is not None and not (isinstance(executor, str) and executor and is_storable(executor)):
        report("bad_value", ("executor",), f"executor must be a name, not {shown(executor)}")
    if options.get("timeout") is not None:
        check_time(("timeout",), options["timeout"], report)
    retry.check_retry(options.get("retry"), report)
