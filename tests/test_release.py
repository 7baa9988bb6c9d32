"""What a release consists of, and that it works where nothing else of the project is."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from django_workflow.contrib.embedded.launcher import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # packages may have to be fetched

ROOT = Path(__file__).parent.parent
SITE = """
    from pathlib import Path

    BASE_DIR = Path(__file__).parent
    SECRET_KEY = "an example has no secrets"
    INSTALLED_APPS = [
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "pgtrigger",
        "django_workflow",
    ]
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        },
    ]
    ROOT_URLCONF = "site_urls"
    STATIC_URL = "static/"
    STATIC_ROOT = BASE_DIR / "collected"
    DATABASES = {
        "default": {"ENGINE": "django_workflow.contrib.embedded", "NAME": "site", "OPTIONS": {"folder": FOLDER}},
    }
"""
URLS = """
    from django.contrib import admin
    from django.urls import include, path

    urlpatterns = [path("admin/", admin.site.urls), path("workflow/", include("django_workflow.urls"))]
"""
ASK = """
    import django_workflow
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.test.utils import setup_test_environment
    from django_workflow import Flow

    setup_test_environment()
    flow = Flow("tried")
    flow.step(lambda input: input + 1, name="only")
    assert flow.execute(1).output == {"only": 2}
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ann"))
    page = client.get("/workflow/")
    assert page.status_code == 200, page.status_code
    print(django_workflow.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the archive of sources."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def files_of_the_package() -> set[str]:
    """Every file that the repository has of the package."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "django_workflow"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == files_of_the_package()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in about)
    for part in ("py.typed", "migrations/0001_initial.py", "templates/", "static/"):
        assert any(name.startswith(f"django_workflow/{part}") for name in names), part


def test_the_archive_of_sources_has_no_tests_and_no_example(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    parts = {name.partition("/")[0] for name in names} - {".gitignore"}
    assert parts == {"django_workflow", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}
    assert files_of_the_package() <= names


def test_metadata_says_what_one_has_to_know(metadata):
    assert metadata["Name"] == "django-durable-workflow"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_all("Project-URL")
    versions = {line.rpartition(" ")[2] for line in metadata.get_all("Classifier") if "Framework :: Django ::" in line}
    assert {"5.2", "6.0", "6.1"} == versions
    readme = metadata.get_payload()
    assert readme.startswith("# django_workflow")
    assert [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith(("http", "#"))] == []


def test_pages_name_what_is_installed_by_its_own_name():
    """PyPI's `django-workflow` is another project: it is named only to say so."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    assert [line for line in lines if re.search(r"install.*\bdjango-workflow\b", line)] == []


def test_a_fresh_site_works_with_the_installed_wheel(wheel, tmp_path):
    (tmp_path / "site").mkdir()
    folder = tmp_path / "site"
    text = {"site_settings.py": SITE, "site_urls.py": URLS, "ask.py": ASK}
    for name, content in text.items():
        (folder / name).write_text(textwrap.dedent(content).replace("FOLDER", repr(str(folder / "pg"))))
    python = tmp_path / "venv" / "bin" / "python"
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", ""), "PYTHONPATH": str(folder)}
    environ |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}

    def run(*words: object, **more: str) -> str:
        done = subprocess.run(
            [str(word) for word in words], cwd=folder, env=environ | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[embedded]")
    django = {"DJANGO_SETTINGS_MODULE": "site_settings"}
    try:
        assert "no issues" in run(python, "-m", "django", "check", "--database", "default", **django)
        run(python, "-m", "django", "migrate", "--verbosity", "0", **django)
        assert "0 errors" in run(python, "-m", "django", "workflow_doctor", **django)
        run(python, "-m", "django", "collectstatic", "--noinput", "--verbosity", "0", **django)
        place = run(python, "-m", "django", "shell", "--command", (folder / "ask.py").read_text(), **django)
        assert str(tmp_path / "venv") in place
    finally:
        Cluster(folder / "pg").stop("immediate")
    assert list((folder / "collected" / "django_workflow").rglob("*.js"))
