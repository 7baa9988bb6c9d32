"""What uvicorn and daphne serve: a site with live pages, in the two lines of the how-to."""

import os

from django.core.asgi import get_asgi_application

from django_workflow.live.routing import with_live_pages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.live.site.settings")

application = with_live_pages(get_asgi_application())
