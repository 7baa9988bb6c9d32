"""The text of a flow: from its definition, or from what its author wrote."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

from django_workflow.definition import drafts
from django_workflow.definition.documents import content, yaml_text
from django_workflow.definition.drafts import FlowDraft
from django_workflow.definition.problems import Problem
from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import DefinitionError

FORMATS = ("yaml", "json")


def write(flow: FlowSpec | FlowDraft, format: str = "yaml") -> str:
    """Return a flow as a document.

    flow: a definition, or a draft. format: "yaml" or "json".
    Raises `DefinitionError` for what the format does not say, `NotSupported` for YAML without PyYAML.
    """
    draft = drafts.of_spec(flow) if isinstance(flow, FlowSpec) else flow
    data = content.plain(draft)
    if format == "json":
        return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    if format != "yaml":
        message = f"format must be one of {', '.join(FORMATS)}, not {format!r}"
        raise DefinitionError([Problem("bad_value", (), message, place="")], flow=draft.slug)
    return _yaml(data)


def _yaml(data: dict[str, Any]) -> str:
    """Return YAML: the flow's options, then its steps, an empty line before each."""
    steps = data.pop("steps")
    parts = [_dump(data), "\nsteps:\n" if steps else "\nsteps: {}\n"]
    for place, (name, step) in enumerate(steps.items()):
        lines = _dump({name: step}).splitlines()
        parts.append(("\n" if place else "") + "".join(f"  {line}\n" for line in lines))
    return "".join(parts)


def _dump(data: dict[str, Any]) -> str:
    yaml = yaml_text.library()
    text: str = yaml.dump(data, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=math.inf)
    return text


@cache
def _dumper() -> Any:
    """Return a class of dumpers: short lists in one line, and quotes around whatever any reader takes for no text."""
    yaml = yaml_text.library()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc,name-defined]
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: FBT001, FBT002
            return super().increase_indent(flow, False)

    def resolvers(sign: str) -> list[Any]:
        return list(yaml.SafeDumper.yaml_implicit_resolvers.get(sign, []))

    Dumper.yaml_implicit_resolvers = {sign: resolvers(sign) for sign in yaml.SafeDumper.yaml_implicit_resolvers}
    # as a key of transitions `on` stands without quotes, as in many a YAML of today
    Dumper.yaml_implicit_resolvers["o"] = []
    Dumper.add_implicit_resolver("tag:yaml.org,2002:int", yaml_text.INTEGER, list("-+0123456789"))
    Dumper.add_implicit_resolver("tag:yaml.org,2002:float", yaml_text.FLOAT, list("-+.0123456789"))
    Dumper.add_representer(str, _represent_text)
    Dumper.add_representer(list, _represent_list)
    return Dumper


def _represent_text(dumper: Any, text: str) -> Any:
    # in quotes with escapes where a break or a sign that nobody sees would be lost in a line
    style = '"' if any(not sign.isprintable() for sign in text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: Any, items: list[Any]) -> Any:
    is_short = all(item is None or isinstance(item, str | int | float) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=is_short)
