"""A document's content: plain values by key to a draft, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from django_workflow.definition import elements
from django_workflow.definition.documents import durations
from django_workflow.definition.drafts import SHARED, FlowDraft
from django_workflow.definition.problems import Path, Report
from django_workflow.definition.retry import Retry
from django_workflow.definition.schemas import schema
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.definition.written.transitions import Otherwise, To, Transition, When, targets, transitions_of

#: Keys in the order in which they are written.
FLOW_KEYS: Final = (
    *("slug", "title", "input_schema", "vars", "entry", "output", "max_duration", "max_tasks", "max_iterations"),
    *SHARED,
)
MAP_KEYS: Final = ("over", "count", "max_parallel", "tolerate")
STEP_KEYS: Final = (
    *("title", "handler", "depends_on", "join", "when", "on_unmet", "map", "arguments", "delay", "retry"),
    *("on_exhausted", "timeout", "queue", "executor", "resources", "atomic", "match", "next"),
)
RETRY_KEYS: Final = ("max_attempts", "strategy", "base", "factor", "cap", "jitter", "retry_on", "give_up_on")


class Reader:
    """Makes a draft of plain values whose structure is right; what it cannot read is reported and left out."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def flow(self, data: Mapping[str, Any]) -> FlowDraft:
        """Return the draft that a document says."""
        options = FlowOptions(
            title=data.get("title", ""),
            max_duration=self._duration(data.get("max_duration"), ("max_duration",)),
            max_tasks=data.get("max_tasks"),
            max_iterations=data.get("max_iterations"),
            entry=_names(data["entry"]) if "entry" in data else None,
            vars=data.get("vars"),
            output=data.get("output"),
            input_schema=data.get("input_schema"),
        )
        steps = tuple(self._step(name, step) for name, step in data.get("steps", {}).items())
        return FlowDraft(data.get("slug", ""), options, self._shared(data, ()), steps)

    def _shared(self, data: Mapping[str, Any], path: Path) -> dict[str, Any]:
        options = {name: data[name] for name in ("queue", "executor") if name in data}
        timeout = self._duration(data.get("timeout"), (*path, "timeout"))
        if timeout is not None:
            options["timeout"] = timeout.total_seconds()
        if "retry" in data:
            options["retry"] = self._retry(data["retry"], (*path, "retry"))
        return options

    def _step(self, name: str, data: Mapping[str, Any]) -> StepDraft:
        path: Path = ("steps", name)
        plain = ("title", "join", "on_unmet", "on_exhausted", "arguments", "resources", "atomic", "match")
        options = {key: data[key] for key in plain if key in data} | self._shared(data, path)
        if "when" in data:
            options["when"] = _condition(data["when"])
        if "delay" in data:
            options["delay"] = self._delay(data["delay"], (*path, "delay"))
        if "next" in data:
            options["next"] = self._transitions(data["next"], (*path, "next"))
        options |= data.get("map", {})
        kind = elements.MAP if "map" in data else elements.SINGLE
        depends_on = tuple(_names(data.get("depends_on", ())))
        return StepDraft(name, data.get("handler", name), kind, depends_on=depends_on, options=options)

    def _transitions(self, following: Any, path: Path) -> list[Transition]:
        items = [following] if isinstance(following, str) else following
        return [self._transition(item, (*path, place)) for place, item in enumerate(items)]

    def _transition(self, item: Any, path: Path) -> Transition:
        if isinstance(item, str):
            return To(item)
        options = {name: item[name] for name in ("on", "publish", "merge") if name in item}
        if "delay" in item:
            options["delay"] = self._delay(item["delay"], (*path, "delay"))
        if "otherwise" in item:
            return Otherwise(item["otherwise"], **options)
        return When(_condition(item["when"]), item["to"], **options) if "when" in item else To(item["to"], **options)

    def _retry(self, data: Mapping[str, Any], path: Path) -> dict[str, Any]:
        policy = dict(data)
        for name in ("base", "cap"):
            time = self._duration(policy.pop(name, None), (*path, name))
            if time is not None:
                policy[name] = time.total_seconds()
        for name in ("retry_on", "give_up_on"):
            if name in policy:
                policy[name] = sorted(_names(policy[name]))
        if isinstance(policy.get("strategy"), Mapping):
            policy["strategy"] = elements.CALLABLE_PREFIX + policy["strategy"]["callable"]
        return policy

    def _delay(self, value: Any, path: Path) -> timedelta | str | None:
        if isinstance(value, str) and not durations.looks_like_one(value):
            return value
        return self._duration(value, path)

    def _duration(self, value: Any, path: Path) -> timedelta | None:
        if value is None:
            return None
        try:
            time = durations.read(value) if isinstance(value, str) else timedelta(seconds=value)
        except OverflowError:
            self._report("bad_value", path, f"{path[-1]}: this is more than a time can be")
            return None
        if time is None:
            self._report("bad_value", path, f"{path[-1]} must be {durations.RULE}, not {value!r}")
        return time


def _names(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _condition(value: Any) -> Any:
    return elements.Condition(callable=value["callable"]) if isinstance(value, Mapping) else value


def plain(draft: FlowDraft) -> dict[str, Any]:
    """Return a draft as a document's plain values, its keys in the order in which they are written."""
    options = draft.options
    data = {
        "slug": draft.slug,
        "title": options.title,
        "input_schema": schema.as_json(options.input_schema) if options.input_schema else None,
        "vars": _values(options.vars),
        "entry": None if options.entry is None else list(options.entry),
        "output": _values(options.output),
        "max_duration": _time(options.max_duration),
        "max_tasks": options.max_tasks,
        "max_iterations": options.max_iterations,
        **_plain_shared(draft.defaults),
    }
    return _written(data, FLOW_KEYS) | {"steps": {step.name: _plain_step(step) for step in draft.steps}}


def _plain_step(step: StepDraft) -> dict[str, Any]:
    options = dict(step.options)
    source = {name: options[name] for name in MAP_KEYS if options.get(name) is not None}
    data = {
        **options,
        **_plain_shared(options),
        "handler": step.handler,
        "depends_on": list(step.depends_on),
        "map": source if step.kind == elements.MAP else None,
        "when": _plain_condition(options.get("when")),
        "arguments": _values(options.get("arguments")),
        "resources": _values(options.get("resources")),
        "delay": _time(options.get("delay")),
        "atomic": options.get("atomic") or None,
        "next": [_plain_transition(item) for item in transitions_of(options.get("next"))],
    }
    written = _written(data, STEP_KEYS)
    if "join" in options:
        written = _written(data, STEP_KEYS[: STEP_KEYS.index("join")]) | {"join": options["join"]} | written
    return written


def _plain_transition(item: Transition) -> Any:
    found = targets(item)
    names: Any = found[0] if len(found) == 1 else list(found)
    options = {
        "on": item.on if item.on != "succeeded" else None,
        "publish": _values(item.publish),
        "merge": _values(item.merge),
        "delay": _time(item.delay),
    }
    options = _written(options, tuple(options))
    if isinstance(item, Otherwise):
        return {"otherwise": names, **options}
    if isinstance(item, When):
        return {"when": _plain_condition(item.when), "to": names, **options}
    return {"to": names, **options} if options or not isinstance(names, str) else names


def _plain_shared(options: Mapping[str, Any]) -> dict[str, Any]:
    retry = options.get("retry")
    return {
        "retry": None if retry is None else _plain_retry(retry),
        "timeout": _time(options.get("timeout")),
        "queue": options.get("queue"),
        "executor": options.get("executor"),
    }


def _plain_retry(policy: Retry | Mapping[str, Any]) -> dict[str, Any]:
    data = policy.declared() if isinstance(policy, Retry) else dict(policy)
    data |= {name: _time(data[name]) for name in ("base", "cap") if name in data}
    strategy = data.get("strategy")
    if isinstance(strategy, str) and strategy.startswith(elements.CALLABLE_PREFIX):
        data["strategy"] = {"callable": strategy.removeprefix(elements.CALLABLE_PREFIX)}
    return _written(data, RETRY_KEYS)


def _plain_condition(when: Any) -> Any:
    if isinstance(when, elements.Condition):
        return {"callable": when.callable} if when.callable else when.expression
    return when


def _values(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(values) if values else None


def _time(value: timedelta | float | str | None) -> Any:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return durations.write(value) if isinstance(value, int | float) else value


def _written(data: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return what is there, in the order of `keys`."""
    return {key: data[key] for key in keys if data.get(key) is not None and data[key] not in ("", [])}
