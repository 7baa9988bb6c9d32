"""Settings of the site whose workers are killed: the example project's, with handlers that record what they did."""

from datetime import timedelta

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.site"]
DJANGO_WORKFLOW = {
    # so that a rolling deploy takes no half minute
    "UNKNOWN_HANDLER_DELAY": timedelta(seconds=0.3),
}
