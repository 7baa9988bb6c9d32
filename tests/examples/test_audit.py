"""The audit, over the real packages and over damaged ones."""

from __future__ import annotations

import shutil

import pytest

from django_workflow.testing import assert_settled, statuses_of
from example_project.audit.flow import audit
from example_project.audit.packages import find_packages
from example_project.models import AuditReport

pytestmark = pytest.mark.django_db


def report_of(run):
    return AuditReport.objects.get(run_id=run.run_id)


def damage(info):
    """Leave a list of files that is no text, as a broken disk does."""
    (info / "RECORD").write_bytes(b"\xff\xfe\x00")


@pytest.mark.slow
def test_everything_installed_is_in_the_report():
    result = audit.execute().raise_for_status()
    report = report_of(result)
    names, nameless = find_packages()
    readable = {package.name for package in report.packages.all()}
    unreadable = {problem["name"] for problem in report.unreadable}
    assert readable | unreadable >= set(names)
    assert result["report"] == {
        "report": report.pk,
        "packages": report.packages.count(),
        "unreadable": len(report.unreadable),
        "bytes": report.size,
    }
    assert result.counts["measure"] == len(names)
    assert len([problem for problem in report.unreadable if not problem["name"]]) == nameless
    assert report.packages.get(name="Django").family == "permissive"


def test_some_of_it_can_be_chosen():
    result = audit.execute({"packages": ["DJANGO", "psycopg"]}).raise_for_status()
    assert [package.name for package in report_of(result).packages.order_by("name")] == ["Django", "psycopg"]
    assert report_of(result).packages.get(name="psycopg").family == "weak"


def test_a_package_that_is_not_installed_fails_the_audit_at_once():
    result = audit.execute({"packages": ["django", "no-such-package"]})
    assert result.status == "failed"
    assert result.error == {"step": "discover", "class": "Fail", "message": "not installed: no-such-package"}
    assert not AuditReport.objects.exists()


def test_one_package_in_ten_may_be_unreadable(install, tmp_path):
    names = [f"made-up-{number}" for number in range(10)]
    for name in names:
        install(name, "License-Expression: MIT", {f"{name}.py": "x"})
    damage(tmp_path / "made_up_3-1.0.dist-info")
    result = audit.execute({"packages": names}).raise_for_status()
    report = report_of(result)
    assert report.packages.count() == 9
    [problem] = [problem for problem in report.unreadable if problem["name"]]
    assert problem["name"] == "made-up-3"
    assert problem["error"].startswith("UnicodeDecodeError: ")


def test_more_than_one_in_ten_fails_the_audit(install, tmp_path):
    names = [f"made-up-{number}" for number in range(10)]
    for name in names:
        install(name, "License-Expression: MIT", {f"{name}.py": "x"})
    for number in (3, 5):
        damage(tmp_path / f"made_up_{number}-1.0.dist-info")
    result = audit.execute({"packages": names})
    assert_settled(result.run, "failed", steps={"measure": "failed"})
    assert not AuditReport.objects.exists()


def test_licence_files_are_looked_at_only_where_the_licence_is_unclear():
    result = audit.execute({"packages": ["django"]}).raise_for_status()
    assert statuses_of(result.run)["read_licence_texts"] == "skipped"


def test_an_unclear_licence_is_read_from_its_text(install):
    text = "Redistribution and use in source and binary forms, with or without"
    install("made-up", "License: see the file", {"made_up-1.0.dist-info/LICENSE.txt": text})
    install("nothing", "", {"nothing.py": ""})
    result = audit.execute({"packages": ["made-up", "nothing"]}).raise_for_status()
    assert_settled(result.run, steps={"read_licence_texts": "succeeded"})
    made_up, nothing = report_of(result).packages.order_by("name")
    assert (made_up.licence, made_up.licence_source, made_up.family) == ("BSD", "text", "permissive")
    assert (nothing.licence, nothing.licence_source, nothing.family) == ("", "", "unclear")


def test_the_report_is_written_even_if_the_licence_files_cannot_be_read(install, monkeypatch):
    info = install("made-up", "License: see the file", {"made_up.py": "x"})

    def vanish(package):
        shutil.rmtree(info)
        raise FileNotFoundError(package)

    monkeypatch.setattr("example_project.audit.flow.licence_texts", vanish)
    monkeypatch.setattr("django_workflow.definition.retry.RetryPolicy.delay", lambda *_: 0.0)
    result = audit.execute({"packages": ["made-up"]}).raise_for_status()
    assert statuses_of(result.run)["read_licence_texts"] == "skipped"
    assert report_of(result).packages.get().family == "unclear"


def test_auditing_nothing_is_an_empty_report():
    result = audit.execute({"packages": []}).raise_for_status()
    assert result["report"]["packages"] == 0
