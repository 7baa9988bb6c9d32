"""URLs of the example project."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="django_workflow:board")),
    path("favicon.ico", RedirectView.as_view(url=static("django_workflow/icon.svg"))),
    path("workflow/", include("django_workflow.urls")),
    path("admin/", admin.site.urls),
    path("login/", auth.LoginView.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    # with DEBUG only; `runserver` would do it by itself, other servers do not
    *staticfiles_urlpatterns(),
]
