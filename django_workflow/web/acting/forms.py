"""The forms of the pages that act: a reason, JSON, how a run is retried, what a run is started with."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from django_workflow import payload
from django_workflow.engine.retrying.request import ALL_STEPS, FAILED_STEPS, KEPT, LATEST, RetryRequest
from django_workflow.engine.verbs.start import MAX_KEY
from django_workflow.exceptions import PayloadError
from django_workflow.models import Run
from django_workflow.payload import readable
from django_workflow.read import versions
from django_workflow.web.address import number

#: Longest reason, in characters.
MAX_REASON = 2_000
#: Characters of the offending line that are shown with an error in JSON.
SHOWN = 60
#: Characters of an input that a form sends back as it was; a longer one might be more than a request may have.
MOST_INPUT = 200_000


class JSONInput(forms.CharField):
    """A JSON value; errors tell line and column, and show the place. Blank is `empty`."""

    empty: Any = None

    def __init__(self, *, empty: Any = None, rows: int = 10, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "class": "mono", "spellcheck": "false", "autocomplete": "off"})
        super().__init__(required=False, strip=False, widget=widget, **options)
        self.empty = empty

    def to_python(self, value: Any) -> Any:
        """Return the value of the text; raises `ValidationError`."""
        text = str(super().to_python(value))
        if not text.strip():
            return self.empty
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValidationError(explain(text, error), code="json") from error
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"Not JSON: {error}", code="json") from error

    def validate(self, value: Any) -> None:
        """Accept any JSON value: null, zero and empty lists are values, too."""


def explain(text: str, error: json.JSONDecodeError) -> str:
    """Say where a text is no JSON: line and column, and what stands there."""
    lines = text.splitlines() or [""]
    line = lines[min(error.lineno, len(lines)) - 1]
    begin = max(0, error.colno - 1 - SHOWN // 2)
    shown = line[begin : begin + SHOWN].strip()
    place = f"line {error.lineno}, column {error.colno}"
    return f"Not JSON at {place}: {error.msg}" + (f", at: {shown}" if shown else ", at the end")


def optional(field: forms.Field) -> forms.Field:
    """Return a field that is told to be optional; others that may be blank say what that means."""
    field.required = False
    field.is_optional = True  # type: ignore[attr-defined]
    return field


class ReasonForm(forms.Form):
    """Why something is done."""

    reason = optional(
        forms.CharField(
            max_length=MAX_REASON, widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}),
            help_text="Is stored with what you do, for whoever asks later.",
        )
    )  # fmt: skip

    @property
    def options(self) -> list[forms.BoundField]:
        """The fields on which it depends what will happen; they stand above the preview."""
        return []

    @property
    def answers(self) -> list[forms.BoundField]:
        """The fields below the preview."""
        return [field for field in self.visible_fields() if field not in self.options]

    def cleaned(self, name: str, default: Any = "") -> Any:
        """Return what was given for a field, or the default where it is not valid."""
        return getattr(self, "cleaned_data", {}).get(name, default)


class NeededReasonForm(ReasonForm):
    """Why something is done that is not done without a reason."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = True
        self.fields["reason"].is_optional = False  # type: ignore[attr-defined]


class StepForm(ReasonForm):
    """A step that is ended by hand."""

    step = forms.CharField(max_length=128, widget=forms.HiddenInput)
    activation = forms.CharField(required=False, widget=forms.HiddenInput)

    @property
    def step_run_id(self) -> int | None:
        """The activation that is meant, if one is named; 0, which none has, for what is no id."""
        text = self["activation"].value() or ""
        return number(text) or 0 if text else None


class CompleteForm(StepForm):
    """A step that is ended by hand, with its output."""

    value = JSONInput(
        label="Output", rows=6, help_text="JSON; leave blank for none. Of a map step, the whole list.",
    )  # fmt: skip

    field_order = ("step", "activation", "value", "reason")

    def clean_value(self) -> Any:
        """Refuse what cannot be stored here, where it can be mended, and not after the page is gone."""
        value = self.cleaned_data["value"]
        try:
            payload.dump_output(value, step=self.data.get("step", ""))
        except PayloadError as error:
            raise ValidationError(error.message, code="payload") from error
        return value


def kept_input(run: Run, *, shows_input: bool) -> str:
    """Return a run's input to be edited; nothing, which keeps it, where it is hidden or long."""
    text = readable(run.input) if shows_input else ""
    return text if len(text) <= MOST_INPUT else ""


class RetryForm(ReasonForm):
    """How a run is retried."""

    mode = forms.ChoiceField(
        required=False,
        choices=[(FAILED_STEPS, "failed steps, and what follows them"), (ALL_STEPS, "all steps")],
        label="Run again",
    )
    from_step = forms.ChoiceField(required=False, label="Or from a step on")
    version = forms.ChoiceField(required=False, label="Version of the flow")
    input = JSONInput(empty=KEPT, label="Input", rows=8)

    field_order = ("mode", "from_step", "version", "input", "reason")

    def __init__(self, *args: Any, run: Run, shows_input: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run = run
        self.shows_input = shows_input
        others = [number for number in versions.numbers(run.flow_id, 50) if number != run.version.number]
        self.fields["version"].choices = [  # type: ignore[attr-defined]
            ("", f"v{run.version.number}, as before"), (LATEST, "the latest"), *((str(n), f"v{n}") for n in others),
        ]  # fmt: skip
        self.fields["from_step"].choices = [  # type: ignore[attr-defined]
            ("", "–"), *((name, name) for name in versions.readable_spec(run.version).steps),
        ]  # fmt: skip
        text = kept_input(run, shows_input=shows_input)
        self.fields["input"].initial = text
        if not shows_input:
            told = "The input is hidden: you may not view payloads. Leave blank to keep it."
        elif not text:
            told = "The input is too long to be edited here. Leave blank to keep it."
        else:
            told = "The input of this run. Edit it to run with another one."
        self.fields["input"].help_text = told

    @property
    def options(self) -> list[forms.BoundField]:
        """How it is retried."""
        return [self[name] for name in ("mode", "from_step", "version")]

    @property
    def input_field(self) -> forms.BoundField:
        """The input, which is seldom edited."""
        return self["input"]

    @property
    def answers(self) -> list[forms.BoundField]:
        """Why."""
        return [self["reason"]]

    @property
    def is_input_open(self) -> bool:
        """Whether the input was edited, or is wrong."""
        return bool(self["input"].errors) or self.request("", "").input is not KEPT

    def clean(self) -> dict[str, Any]:
        """Refuse a first step where everything is executed."""
        data: dict[str, Any] = super().clean() or {}
        if data.get("mode") == ALL_STEPS and data.get("from_step"):
            self.add_error("from_step", "Everything is executed, or what follows a step, not both.")
        return data

    def request(self, reason: str, by: str) -> RetryRequest:
        """Return what is asked of the engine; the input counts as kept where it is what it was."""
        given = self.cleaned("input", KEPT)
        # who may not see the input may not learn it either, by trying which one counts as kept
        if given is not KEPT and self.shows_input and _as_text(given) == _as_text(self.run.input):
            given = KEPT
        version = self.cleaned("version") or None
        return RetryRequest(
            self.cleaned("mode") or FAILED_STEPS, self.cleaned("from_step") or None, given,
            int(version) if version and version != LATEST else version, reason, by,
            hides_input=not self.shows_input,
        )  # fmt: skip


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


class StartForm(forms.Form):
    """What a run is started with."""

    input = JSONInput(label="Input", rows=14, help_text="JSON; leave blank for none.")
    title = optional(
        forms.CharField(
            max_length=200, widget=forms.TextInput(attrs={"dir": "auto"}), help_text="What people call this run."
        )
    )
    labels = optional(
        forms.CharField(
            widget=forms.Textarea(attrs={"rows": 2, "class": "mono", "spellcheck": "false"}),
            help_text="One name=value on each line.",
        )
    )  # fmt: skip
    idempotency_key = optional(
        forms.CharField(max_length=MAX_KEY, help_text="A second start with the same key finds the first run.")
    )
    run_id = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def clean_labels(self) -> dict[str, str]:
        """Return the labels by name."""
        labels = {}
        for line in self.cleaned_data["labels"].splitlines():
            if not line.strip():
                continue
            name, is_given, value = line.partition("=")
            if not name.strip() or not is_given:
                raise ValidationError(f"{line.strip()!r} is not a label: write name=value.")
            labels[name.strip()] = value.strip()
        return labels
