"""What the database itself enforces, whoever writes: status machines and immutability."""

from __future__ import annotations

import pgtrigger

from django_workflow.statuses import Moves

#: Transaction-local setting under which retention may delete immutable rows.
RETENTION_SETTING = "django_workflow.retention"
#: Transaction-local setting under which transaction ids of another cluster may be numbered anew.
REPAIR_SETTING = "django_workflow.repair"


def status_machine(table: str, moves: Moves) -> pgtrigger.Trigger:
    """Return a trigger that refuses every change of `status` that is not in `moves`.

    One check per statement over its transition tables, not one per row: settling 200 tasks costs
    one check. Old and new rows are grouped, not joined: a function's plan is made once, and a join
    that was planned for one row is quadratic for 200 (5 ms instead of 0.3).
    """
    legal = ", ".join(f"('{old}', '{new}')" for old in sorted(moves) for new in sorted(moves[old]))
    return pgtrigger.Trigger(
        name=f"{table}_status_moves",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        referencing=pgtrigger.Referencing(old="old_rows", new="new_rows"),
        declare=[("illegal", "TEXT")],
        func=f"""
            SELECT id || ': ' || max(was) || ' -> ' || max(becomes) INTO illegal FROM (
                SELECT id, status AS was, NULL AS becomes FROM old_rows
                UNION ALL SELECT id, NULL, status FROM new_rows
            ) AS moved
            GROUP BY id
            HAVING max(was) <> max(becomes) AND (max(was), max(becomes)) NOT IN ({legal})
            LIMIT 1;
            IF illegal IS NOT NULL THEN
                RAISE EXCEPTION 'illegal {table} status change, %', illegal USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        """,  # noqa: S608  built from the constants of statuses.py
    )


def never_updated(table: str, *, times: bool = True) -> pgtrigger.Trigger:
    """Return a trigger that refuses every change of the table's rows.

    One per row, which costs nothing where nobody updates. Django's `save()` updates first and inserts where no row
    was found, and `loaddata` writes rows anew as they are, their times without microseconds: neither is a change.

    times: whether a row's `created_at` matters; the same definition may have been published earlier elsewhere.
    """
    old, new = (_content(row, times=times) for row in ("OLD", "NEW"))
    is_repair = f"coalesce(current_setting('{REPAIR_SETTING}', true), '') = 'on'"
    return pgtrigger.Trigger(
        name=f"{table}_never_updated",
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        condition=pgtrigger.Condition(f"{old} IS DISTINCT FROM {new} AND NOT {is_repair}"),
        func=f"RAISE EXCEPTION 'a {table} is never changed' USING ERRCODE = 'integrity_constraint_violation';",
    )


def _content(row: str, *, times: bool) -> str:
    time = f"date_trunc('milliseconds', (to_jsonb({row})->>'created_at')::timestamptz)" if times else "NULL"
    return f"ROW(to_jsonb({row}) - 'created_at', {time})"


def deleted_by_retention_only(table: str) -> pgtrigger.Trigger:
    """Return a trigger that refuses to delete rows outside retention and erasure: others would stay behind."""
    return pgtrigger.Trigger(
        name=f"{table}_deleted_by_retention_only",
        when=pgtrigger.Before,
        operation=pgtrigger.Delete,
        condition=pgtrigger.Condition(f"current_setting('{RETENTION_SETTING}', true) IS DISTINCT FROM 'on'"),
        func=f"""
            RAISE EXCEPTION 'a {table} is deleted by retention only'
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Runs go, with all of theirs, by django_workflow.erase() or manage.py workflow_prune.';
        """,
    )
