"""The site as uvicorn serves it."""

from django.core.asgi import get_asgi_application

from django_workflow.live.routing import with_live_pages

application = with_live_pages(get_asgi_application())
