"""Directives of this documentation: what they show is read from the code, so it cannot go stale."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from directives import commands, docstrings, errors, settings, sql, states, tables


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and the reader of docstrings."""
    app.add_directive("workflow-settings", settings.Settings)
    app.add_directive("workflow-states", states.States)
    app.add_directive("workflow-command", commands.Command)
    app.add_directive("workflow-tables", tables.Tables)
    app.add_directive("workflow-errors", errors.Errors)
    app.add_directive("workflow-sql", sql.Sql)
    app.connect("autodoc-process-docstring", docstrings.describe_parameters)
    app.connect("autodoc-process-signature", docstrings.shorten_twins)
    # what the directives show changes with the code, of which Sphinx knows nothing
    app.connect("env-get-outdated", lambda _app, env, *_: sorted(env.found_docs))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
