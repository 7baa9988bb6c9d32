"""The example project with flows whose steps wait for a word of the test, for processes of browser tests."""

from example_project.settings import *  # noqa: F403  settings are built like this
from example_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.browser.site"]
# as the tests themselves have it: they make the users
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
