"""Every document comes to what it says: in the calling process, and by three worker processes together."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import DefinitionError
from tests.conformance.cases import KINDS, Case, cases

ALL = [case for kind in KINDS for case in cases(kind)]
RUN = [case for case in ALL if not case.is_refused]
REFUSED = [case for case in ALL if case.is_refused]


def _name(case: Case) -> str:
    return f"{case.kind}/{case.name}"


@pytest.mark.parametrize("case", RUN, ids=_name)
def test_document_runs_here(case, db):
    case.check(case.flow().execute(case.says.get("input"), timeout=timedelta(seconds=60)))


@pytest.mark.parametrize("case", REFUSED, ids=_name)
def test_document_is_refused_with_all_its_problems(case):
    with pytest.raises(DefinitionError) as caught:
        case.flow()
    case.check_refusal(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("workflow_queues", "site")
def test_three_worker_processes_bring_all_documents_to_the_same_ends(command, monkeypatch):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.conformance.settings")
    handles = {case.slug: case.flow().start(case.says.get("input")) for case in RUN}
    workers = [command("--concurrency", "4") for _ in range(3)]
    results = {slug: handle.wait(timedelta(minutes=3)) for slug, handle in handles.items()}
    for worker in workers:
        worker.terminate()
        code, told = worker.end()
        assert code == 0, told
    for case in RUN:
        case.check(results[case.slug])
