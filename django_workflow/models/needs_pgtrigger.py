"""Says in words that `pgtrigger` is not among the installed apps, wherever the models are imported first."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if not apps.is_installed("pgtrigger"):
    raise ImproperlyConfigured(
        "django_workflow needs 'pgtrigger', whose triggers guard its tables. Add it to INSTALLED_APPS in "
        f"{getattr(settings, 'SETTINGS_MODULE', 'the settings')}:\n"
        "    INSTALLED_APPS = [..., 'pgtrigger', 'django_workflow']"
    )
