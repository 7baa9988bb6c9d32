"""The example project with the documents' flows, for worker processes that tests start."""

from example_project.settings import *  # noqa: F403  settings are built like this
from example_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.conformance.site"]
