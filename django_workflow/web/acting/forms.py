"""The forms of the pages that act: a reason, JSON, how a run is retried, what a run is started with."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError

from django_workflow import payload
from django_workflow.engine.retrying.request import ALL_STEPS, FAILED_STEPS, KEPT, LATEST
from django_workflow.engine.verbs.start import MAX_KEY
from django_workflow.exceptions import PayloadError
from django_workflow.models import Run
from django_workflow.operations.operation import Operation, Words
from django_workflow.operations.retry import RetryWords
from django_workflow.operations.steps import Completion
from django_workflow.payload import readable
from django_workflow.read import versions

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
    """What is said with an operation: why it is done."""

    reason = optional(
        forms.CharField(
            max_length=MAX_REASON, widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}),
            help_text="Is stored with what you do, for whoever asks later.",
        )
    )  # fmt: skip

    #: What an address may say.
    in_address: ClassVar[tuple[str, ...]] = ("reason",)

    def __init__(
        self, data: Any = None, *, operation: Operation[Any, Any], target: Any, sees_payload: bool, **options: Any
    ) -> None:
        super().__init__(data, **options)
        self.operation, self.target, self.sees_payload = operation, target, sees_payload
        if operation.needs_reason:
            self.fields["reason"].required = True
            self.fields["reason"].is_optional = False  # type: ignore[attr-defined]

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

    def words(self, asked_at: datetime | None = None) -> Words:
        """Return what is said, as far as it is valid."""
        return self.operation.words(
            reason=self.cleaned("reason").strip(), sees_payload=self.sees_payload, asked_at=asked_at, **self.own_words()
        )

    def own_words(self) -> dict[str, Any]:
        """Return what is said besides the reason."""
        return {}


class CompleteForm(ReasonForm):
    """The output with which a step is completed."""

    value = JSONInput(
        label="Output", rows=6, help_text="JSON; leave blank for none. Of a map step, the whole list.",
    )  # fmt: skip

    field_order = ("value", "reason")

    def clean_value(self) -> Any:
        """Refuse what cannot be stored here, where it can be mended, and not after the page is gone."""
        value = self.cleaned_data["value"]
        try:
            payload.dump_output(value, step=self.target.step)
        except PayloadError as error:
            raise ValidationError(error.message, code="payload") from error
        return value

    def own_words(self) -> dict[str, Any]:
        """Return the output."""
        return {"value": self.cleaned("value", None)}


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
    in_address = ("mode", "from_step", "version")

    def __init__(self, data: Any = None, *, target: Run, sees_payload: bool, **options: Any) -> None:
        run, shows_input, text = target, sees_payload, kept_input(target, shows_input=sees_payload)
        # a form that is bound to an address tells what is wrong with that
        data = {**dict.fromkeys(self.in_address, ""), **options["initial"], "input": text} if data is None else data
        super().__init__(data, target=target, sees_payload=sees_payload, **options)
        others = [number for number in versions.numbers(run.flow_id, 50) if number != run.version.number]
        self.fields["version"].choices = [  # type: ignore[attr-defined]
            ("", f"v{run.version.number}, as before"), (LATEST, "the latest"), *((str(n), f"v{n}") for n in others),
        ]  # fmt: skip
        self.fields["from_step"].choices = [  # type: ignore[attr-defined]
            ("", "–"), *((name, name) for name in versions.readable_spec(run.version).steps),
        ]  # fmt: skip
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
        return bool(self["input"].errors) or self.own_words()["input"] is not KEPT

    def clean(self) -> dict[str, Any]:
        """Refuse a first step where everything is executed."""
        data: dict[str, Any] = super().clean() or {}
        if data.get("mode") == ALL_STEPS and data.get("from_step"):
            self.add_error("from_step", "Everything is executed, or what follows a step, not both.")
        return data

    def own_words(self) -> dict[str, Any]:
        """Return how it is retried; the input counts as kept where it is what it was."""
        given = self.cleaned("input", KEPT)
        # who may not see the input may not learn it either, by trying which one counts as kept
        if given is not KEPT and self.sees_payload and _as_text(given) == _as_text(self.target.input):
            given = KEPT
        version = self.cleaned("version") or None
        return {
            "mode": self.cleaned("mode") or FAILED_STEPS,
            "from_step": self.cleaned("from_step") or None,
            "input": given,
            "version": int(version) if version and version != LATEST else version,
        }


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


#: The form of each kind of words.
FORMS: Final[dict[type[Words], type[ReasonForm]]] = {
    Words: ReasonForm, Completion: CompleteForm, RetryWords: RetryForm,
}  # fmt: skip


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

    def clean_idempotency_key(self) -> str | None:
        """Return the key; a blank one is none."""
        return self.cleaned_data["idempotency_key"] or None

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
