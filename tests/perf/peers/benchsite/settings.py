"""The smallest site that runs workflows; the database comes from libpq's variables."""

import os
from datetime import timedelta

SECRET_KEY = "benchmark"
USE_TZ = True
INSTALLED_APPS = ["pgtrigger", "django_workflow", "benchsite"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["PGHOST"],
        "USER": os.environ["PGUSER"],
        "NAME": os.environ["PGDATABASE"],
        "CONN_MAX_AGE": None,
    }
}
DJANGO_WORKFLOW = {}
if level := os.environ.get("PERF_EVENT_LEVEL"):
    DJANGO_WORKFLOW["EVENT_LEVEL"] = level
if seconds := os.environ.get("PERF_LEASE"):
    DJANGO_WORKFLOW["LEASE"] = timedelta(seconds=float(seconds))
