"""The example project as an ASGI application."""

import os

from django.core.asgi import get_asgi_application

from django_workflow.live.routing import with_live_pages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application = with_live_pages(get_asgi_application())
