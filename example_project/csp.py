"""`SECURE_CSP` for Django 5.2; from 6.0 on Django has a middleware of its own."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class ContentSecurityPolicyMiddleware:
    """Sends the policy in `SECURE_CSP` with each answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._policy = "; ".join(f"{name} {' '.join(sources)}" for name, sources in settings.SECURE_CSP.items())

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, with the header."""
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", self._policy)
        return response
