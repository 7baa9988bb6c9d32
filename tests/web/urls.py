"""A site with the admin and the live pages."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("workflow/", include("django_workflow.urls")),
]
