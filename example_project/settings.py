"""Settings of the example project: nothing to set up, no server but the PostgreSQL that starts by itself."""

import os
from pathlib import Path

import django

from django_workflow.contrib.embedded.configure import database

BASE_DIR = Path(__file__).resolve().parent.parent

# For development and demonstrations only, like DEBUG and ALLOWED_HOSTS.
SECRET_KEY = "an example has no secrets"
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "pgtrigger",
    "channels",
    "django_workflow",
    "example_project",
]

# Nothing runs in a page but what is a file of this site. Django sends this by itself from 6.0 on.
SECURE_CSP = {
    "default-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "object-src": ["'none'"],
}
CSP_MIDDLEWARE = (
    "django.middleware.csp.ContentSecurityPolicyMiddleware"
    if django.VERSION >= (6, 0)
    else "example_project.csp.ContentSecurityPolicyMiddleware"
)

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    CSP_MIDDLEWARE,
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "django_workflow:board"
LOGOUT_REDIRECT_URL = "login"

ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"

# DATABASE_URL if set; else a PostgreSQL in a folder, which two people at work in one checkout can choose apart.
DATABASES = {
    "default": database(
        os.environ.get("DJANGO_WORKFLOW_POSTGRES") or BASE_DIR / ".postgres",
        name="django_workflow",
    ),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# Seconds that what is outside takes (example_project/pace.py): `run.py serve` slows the flows down to look at them.
EXAMPLE_PACE = float(os.environ.get("EXAMPLE_PACE") or 0)

TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en-us"
STATIC_URL = "static/"

# Mail is shown where the worker runs.
CONSOLE = "django.core.mail.backends.console.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": CONSOLE}}
else:
    EMAIL_BACKEND = CONSOLE
