"""Typical mistakes, each made in a site that is right but for it, or for the files that the page shows."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.mistakes.site import WORKFLOWS, Site

CASES: dict[str, Callable[[Site], None]] = {}


def case(function: Callable[[Site], None]) -> Callable[[Site], None]:
    """Let a function be the mistake of its name."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


@case
def no_pgtrigger(site: Site) -> None:
    site.settings(**{'"pgtrigger", ': ""})


@case
def no_migrate(site: Site) -> None:
    """The database is empty."""


@case
def a_role_without_create(site: Site) -> None:
    site.as_role("shop_app")
    site.own_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


@case
def a_role_without_a_right(site: Site) -> None:
    site.shell("python manage.py migrate")
    site.as_role("shop_app")
    site.own_sql(
        "GRANT USAGE ON SCHEMA pgmq TO shop_app",
        "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public, pgmq TO shop_app",
        "GRANT DELETE ON ALL TABLES IN SCHEMA pgmq TO shop_app",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO shop_app",
    )


@case
def a_result_that_is_no_json(site: Site) -> None:
    _start_a_run(site)


@case
def a_renamed_handler(site: Site) -> None:
    _start_a_run(site)
    site.write("shop/workflows.py", WORKFLOWS.replace("def charge", "def charge_card"))


def _start_a_run(site: Site) -> None:
    site.shell("python manage.py migrate")
    started = "from shop.workflows import orders; print(orders.start().id)"
    site.environment["RUN"] = subprocess.run(
        ["python", "-c", _script(started)],
        cwd=site.folder, env=site.environment, text=True, check=True, stdout=subprocess.PIPE,
    ).stdout.strip()  # fmt: skip


def _script(code: str) -> str:
    return f"import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'; import django; django.setup(); {code}"


@case
def a_queue_that_no_flow_uses(site: Site) -> None:
    site.shell("python manage.py migrate")


@case
def sqlite(site: Site) -> None:
    """The page shows the settings."""


@case
def a_misspelt_parameter(site: Site) -> None:
    site.shell("python manage.py migrate")


@case
def an_unknown_step(site: Site) -> None:
    """The page shows the flow."""


@case
def a_join_that_cannot_complete(site: Site) -> None:
    """The page shows the flow."""


@case
def two_flows_of_one_name(site: Site) -> None:
    site.settings(**{'"shop"]': '"shop", "billing"]'})
    site.write("billing/__init__.py", "")


@case
def a_misspelt_executor(site: Site) -> None:
    """The page shows the flow."""
