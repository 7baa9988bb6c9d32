"""Documents at the shell: validate, import, export, diff."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError

from django_workflow import FlowBuilder, handler
from django_workflow.models import FlowDefinition, FlowVersion
from tests.commands.shell import workflow

GOOD = """\
slug: shop
title: A shop
max_duration: 1h
steps:
  one:
    handler: one
    timeout: 30s
    next:
      - when: result.ok
        to: two
      - otherwise: noop
  two: {}
"""
LOOP = "slug: loop\nentry: [one]\nsteps:\n  one:\n    next: [one]\n"
BAD = "slug: bad\nsteps:\n  one:\n    timeuot: 5s\n    next: [nowhere]\n"


@pytest.fixture(autouse=True)
def _handlers():
    for name in ("one", "two"):
        handler(name)(lambda **given: given)


@pytest.fixture
def files(tmp_path):
    """Write documents and return their paths by name."""
    for name, text in {"good.yaml": GOOD, "loop.yaml": LOOP, "bad.yaml": BAD}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def call(command, *arguments, **options):
    return workflow(*arguments, command=f"workflow_{command}", **options)


def stored():
    return list(FlowDefinition.objects.filter(source="stored").values_list("slug", flat=True))


class TestValidate:
    def test_says_what_is_valid(self, files):
        answer = call("validate", files / "good.yaml")
        assert (answer.code, answer.out) == (0, f"{files}/good.yaml: valid, flow 'shop', 2 steps\n")

    def test_tells_every_problem_of_every_file_with_its_line(self, files):
        answer = call("validate", files / "bad.yaml", files / "loop.yaml")
        assert answer.code == 1
        neither = "which is no step and none of continue, fail, noop, retry"
        limits = "only its limits end it"
        assert answer.out.splitlines() == [
            f"{files}/bad.yaml:4:14: error: step 'one': unknown key 'timeuot'; did you mean 'timeout'?",
            f"{files}/bad.yaml:5:12: error: step 'one': next, transition 1: it leads to 'nowhere', {neither}",
            f"{files}/loop.yaml:4:3: warning: step 'one': it leads to itself without a condition and without a delay",
            f"{files}/loop.yaml:4:3: warning: step 'one': a loop without a condition on any way; {limits}",
            f"{files}/loop.yaml: valid, flow 'loop', 1 step",
        ]

    def test_answers_in_json(self, files):
        answer = call("validate", files / "bad.yaml", files / "loop.yaml", "--json")
        bad, loop = answer.json
        assert answer.code == 1
        assert (bad["flow"], [item["line"] for item in bad["problems"]]) == ("bad", [4, 5])
        assert (loop["flow"], loop["problems"], len(loop["warnings"])) == ("loop", [], 2)

    def test_reads_standard_input(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(b'{"slug": "shop", "steps": {"one": {}}}')))
        assert call("validate", "-").out == "-: valid, flow 'shop', 1 step\n"

    def test_file_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(CommandError, match=r"Cannot read .*nothing\.yaml: No such file"):
            call("validate", tmp_path / "nothing.yaml")

    def test_colours_are_for_terminals(self, files):
        assert "\x1b[" not in call("validate", files / "bad.yaml").out
        assert "\x1b[" in call("validate", files / "bad.yaml", "--force-color").out


@pytest.mark.django_db
class TestImport:
    def test_stores_a_flow_and_says_so(self, files):
        answer = call("import", files / "good.yaml")
        assert answer.out == f"{files}/good.yaml: flow 'shop' stored\n"
        assert stored() == ["shop"]
        assert not FlowVersion.objects.filter(flow__slug="shop").exists()

    def test_publishes_when_asked_to(self, files):
        answer = call("import", files / "good.yaml", "--publish")
        assert answer.out.splitlines()[1] == f"{files}/good.yaml: version 1 is published"
        assert FlowVersion.objects.get(flow__slug="shop").compiled.title == "A shop"

    def test_says_what_changes(self, files):
        call("import", files / "good.yaml", "--publish")
        assert call("import", files / "good.yaml").out == f"{files}/good.yaml: flow 'shop' is as it was\n"
        (files / "good.yaml").write_text(GOOD.replace("30s", "1m").replace("result.ok", "result.good"))
        assert call("import", files / "good.yaml", "--publish").out.splitlines() == [
            f"{files}/good.yaml: flow 'shop' changed",
            "  ~ step 'one': timeout: 30s → 1m",
            '  - step \'one\': next: {"when": "result.ok", "to": "two"}',
            '  + step \'one\': next: {"when": "result.good", "to": "two"}',
            f"{files}/good.yaml: version 2 is published",
        ]

    def test_dry_run_stores_nothing(self, files):
        answer = call("import", files / "good.yaml", "--dry-run")
        assert answer.out == f"{files}/good.yaml: flow 'shop' would be stored\n"
        assert stored() == []

    def test_one_bad_file_keeps_all_out(self, files):
        answer = call("import", files / "good.yaml", files / "bad.yaml")
        assert answer.code == 1
        assert answer.err == "Nothing was stored.\n"
        assert answer.out.count("error:") == 2
        assert stored() == []

    def test_two_files_of_one_flow_are_refused(self, files):
        (files / "again.yaml").write_text(GOOD)
        answer = call("import", files / "good.yaml", files / "again.yaml")
        assert answer.code == 1
        assert "good.yaml:1:7: error: flow: a flow of this name is said by 2 of these files" in answer.out

    def test_answers_in_json(self, files):
        (answer,) = call("import", files / "good.yaml", "--publish", "--json").json
        assert (answer["flow"], answer["is_new"], answer["version"], answer["problems"]) == ("shop", True, 1, [])
        (answer,) = call("import", files / "bad.yaml", "--json").json
        assert answer["version"] is None
        assert answer["problems"][0]["place"] == "step 'one'"


@pytest.mark.django_db
class TestExport:
    def test_stored_flow_is_written_as_its_author_wrote_it(self, files):
        call("import", files / "good.yaml")
        text = call("export", "shop").out
        assert text.startswith("slug: shop\ntitle: A shop\nmax_duration: 1h\n\nsteps:\n  one:\n    handler: one\n")
        FlowBuilder.delete_flow("shop")
        (files / "good.yaml").write_text(text)
        call("import", files / "good.yaml")
        assert call("export", "shop").out == text

    def test_json_and_versions(self, files):
        call("import", files / "good.yaml", "--publish")
        (files / "good.yaml").write_text(GOOD.replace("A shop", "Another"))
        call("import", files / "good.yaml", "--publish")
        assert json.loads(call("export", "shop", "--format", "json").out)["title"] == "Another"
        assert json.loads(call("export", "shop", "--format", "json", "--version", 1).out)["title"] == "A shop"

    def test_flow_in_code_is_written(self, flow):
        flow.step(name="only", when="input == 1")(lambda input: None)
        text = call("export", flow.slug).out
        assert f"  only:\n    handler: {flow.slug}.only\n    when: input == 1\n" in text

    def test_what_is_not_there_is_told(self, files):
        with pytest.raises(CommandError, match="There is no flow 'shpo'"):
            call("export", "shpo")
        call("import", files / "good.yaml", "--publish")
        with pytest.raises(CommandError, match="Flow 'shop' has no version 7; the newest is 1"):
            call("export", "shop", "--version", 7)


@pytest.mark.django_db
class TestDiff:
    def test_file_against_what_starts_now(self, files):
        call("import", files / "good.yaml")
        assert call("diff", "shop", files / "good.yaml", "--check").out == "Nothing changes.\n"
        (files / "good.yaml").write_text(GOOD.replace("  two: {}", "  two: {}\n  three: {handler: two}"))
        answer = call("diff", "shop", files / "good.yaml", "--check")
        assert (answer.code, answer.out) == (1, '+ step \'three\': {"handler": "two"}\n')

    def test_versions_against_each_other(self, files):
        for duration in ("1h", "2h"):
            (files / "good.yaml").write_text(GOOD.replace("1h", duration))
            call("import", files / "good.yaml", "--publish")
        assert call("diff", "shop", 1, 2).out == "~ flow: max_duration: 1h → 2h\n"
        assert call("diff", "shop", 2, 1).out == "~ flow: max_duration: 2h → 1h\n"
        assert call("diff", "shop", 1).out == "~ flow: max_duration: 1h → 2h\n"
        assert call("diff", "shop", files / "good.yaml", 1).out == "~ flow: max_duration: 1h → 2h\n"
        assert call("diff", "shop", 1, "--json").json[0] == {
            "kind": "changed",
            "place": "flow",
            "option": "max_duration",
            "before": "1h",
            "after": "2h",
        }

    def test_overrides_of_the_stored_flow_are_no_difference(self, files):
        call("import", files / "good.yaml", "--publish")
        FlowDefinition.objects.filter(slug="shop").update(overrides={"one": {"queue": "slow"}})
        assert call("diff", "shop", files / "good.yaml", "--check").out == "Nothing changes.\n"
        assert call("import", files / "good.yaml", "--dry-run").out == f"{files}/good.yaml: flow 'shop' is as it was\n"
        assert call("diff", "shop", files / "good.yaml", 1).out == call("diff", "shop", 1).out

    def test_file_with_problems_is_refused(self, files):
        call("import", files / "good.yaml")
        with pytest.raises(CommandError, match="line 4: step 'one': unknown key 'timeuot'"):
            call("diff", "shop", files / "bad.yaml")
