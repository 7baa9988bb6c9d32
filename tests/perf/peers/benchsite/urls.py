"""The live pages, where a site has them."""

from django.urls import include, path

urlpatterns = [path("workflow/", include("django_workflow.urls"))]
