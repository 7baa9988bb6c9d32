"""The documents of docs/examples are imported as somebody would, and executed."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from django_workflow import FlowBuilder
from tests.docs.pages import DOCS

pytestmark = pytest.mark.django_db


@pytest.fixture
def start(run):
    """Import a document and run its flow: here, and through the queues."""

    def start(name, input):
        call_command("workflow_import", DOCS / "examples" / f"{name}.yaml", "--publish", verbosity=0)
        return run(FlowBuilder.get_flow(name.replace("-", "_")), input)

    return start


def test_monitoring_loop_ends_after_its_checks(start, tmp_path):
    result = start("monitoring-loop", {"folder": str(tmp_path), "least_free": 0, "checks": 3, "pause": 0.01})
    assert result.status == "succeeded"
    assert len(result.output["measured"]) == 3
    assert result.output["alert"] is None
    assert result.counts == {"measure": 3}


def test_monitoring_loop_tells_of_a_full_disk_at_once(start, tmp_path):
    result = start("monitoring-loop", {"folder": str(tmp_path), "least_free": 1.1, "checks": 3, "pause": 0.01})
    (free,) = result.output["measured"]
    assert result.output["alert"] == f"Only {free} of {tmp_path} is free"
    assert result.counts == {"measure": 1, "alert": 1}


def test_retry_with_cycle_mends_what_is_missing(start, tmp_path):
    path = tmp_path / "a" / "b" / "report.txt"
    result = start("retry-with-cycle", {"path": str(path), "text": "done"})
    assert result.status == "succeeded"
    assert result.output == {"check": 4}
    assert result.counts == {"save": 2, "mend": 1, "check": 1}
    assert path.read_text() == "done"


def test_retry_with_cycle_does_not_mend_what_it_cannot(start, tmp_path):
    result = start("retry-with-cycle", {"path": str(tmp_path), "text": "done"})
    assert result.status == "failed"
    assert "IsADirectoryError" in result.error["class"]
    assert result.counts == {"save": 1}


def test_conditional_loop_reads_all_pages(start):
    result = start("conditional-loop", {"items": list("abcdefg"), "size": 3})
    assert result.output == {"pages": 3, "found": list("abcdefg")}
    assert result.counts == {"read_page": 3, "summary": 1}


def test_linear(start):
    result = start("linear", {"text": "  the cat and\n the dog "})
    assert result.output == {"tell": "5 words, the most frequent is the"}


def test_fan_out_join(start):
    result = start("fan-out-join", {"text": "One two.\n\nThree four five.\n\nSix."})
    assert result.output == {"report": "3 chapters, 6 words, longest line: Three four five."}
    assert result.counts == {"split": 1, "count": 3, "longest_line": 1, "report": 1}


@pytest.mark.parametrize(
    ("text", "decision"),
    [("TAKE IT NOW: A PRIZE, A BIG PRIZE: http://a http://b http://c", "spam"), ("see you at noon", "no spam")],
)
def test_join_two_of_three(start, text, decision):
    result = start("join-two-of-three", {"text": text})
    assert result.output == {"decide": f"{decision}, by 2 votes"}
    assert result.counts["decide"] == 1


def test_error_branch(start):
    good = start("error-branch", {"csv": "name,count\na,1\nb,2.5", "column": "count"})
    assert good.output == {"total": 3.5, "refused": None}
    bad = start("error-branch", {"csv": "name,count\na", "column": "count"})
    assert bad.status == "succeeded"
    assert bad.output == {"total": None, "refused": "line 2 has another number of cells than the first"}
    assert bad.counts == {"read": 1, "explain": 1}


def test_several_entries(start):
    orders = [{"good": "pen", "count": 15}, {"good": "pen", "count": 3}, {"good": "ink", "count": 2}]
    result = start("several-entries", {"goods": {"pen": 4, "ink": 2}, "orders": orders})
    assert result.output == {"deliveries": 2}
    assert result.counts == {"stock": 3, "demand": 3, "compare": 3}
