"""A site with one page, so that a server can be asked whether it is up."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def up(request: HttpRequest) -> HttpResponse:
    return HttpResponse("up")


urlpatterns = [path("up/", up)]
