"""A site that reads from a replica, which lags behind: here so far that nothing can be read there."""

from tests.settings import *  # noqa: F403  settings are built like this

DATABASE_ROUTERS = ["tests.variants.router.Router"]
