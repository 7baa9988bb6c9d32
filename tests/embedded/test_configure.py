"""Reading DATABASE_URL."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from django_workflow.contrib.embedded.configure import InvalidDatabaseURL, database, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://db.example/shop", {"HOST": "db.example", "NAME": "shop", "USER": "", "PORT": ""}),
        (
            "postgresql://ann:p%40ss%2Fword@db.example:6543/shop",
            {"USER": "ann", "PASSWORD": "p@ss/word", "HOST": "db.example", "PORT": "6543", "NAME": "shop"},
        ),
        ("postgresql:///shop?host=/run/postgresql", {"HOST": "/run/postgresql", "NAME": "shop"}),
        ("postgresql://ann@%2Frun%2FPostgres/shop", {"HOST": "/run/Postgres", "USER": "ann"}),
        ("postgresql://ann@/shop?host=/run&port=7777", {"HOST": "/run", "PORT": "7777", "USER": "ann"}),
        ("postgresql://[::1]:5433/shop", {"HOST": "::1", "PORT": "5433"}),
        ("postgresql://h/my%20shop?sslmode=require", {"NAME": "my shop", "OPTIONS": {"sslmode": "require"}}),
    ],
)
def test_url_is_read_as_libpq_reads_it(url, expected):
    entry = parse_url(url)
    assert entry["ENGINE"] == "django.db.backends.postgresql"
    assert {key: entry[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://u:secret@h/shop", "scheme 'mysql'"),
        ("shop", "scheme ''"),
        ("postgresql://u:secret@h:port/shop", "port"),
        ("postgresql://u:secret@h", "names no database"),
    ],
)
def test_wrong_url_says_what_is_wrong_and_keeps_the_password(url, problem):
    with pytest.raises(InvalidDatabaseURL, match=problem) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_database_url_wins(tmp_path):
    entry = database(tmp_path, name="shop", environ={"DATABASE_URL": "postgresql://h/other"})
    assert (entry["ENGINE"], entry["NAME"]) == ("django.db.backends.postgresql", "other")


@pytest.mark.parametrize("environ", [{}, {"DATABASE_URL": ""}])
def test_embedded_is_the_default(tmp_path, environ):
    entry = database(tmp_path, name="shop", environ=environ)
    assert entry["ENGINE"] == "django_workflow.contrib.embedded"
    assert entry["OPTIONS"]["folder"] == str(tmp_path)


def test_example_project_obeys_database_url():
    code = "from example_project.settings import DATABASES; print(DATABASES['default']['HOST'])"
    environment = {**os.environ, "DATABASE_URL": "postgresql://elsewhere/shop"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "elsewhere\n"
