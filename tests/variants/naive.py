"""A site without time zones, far from UTC."""

from tests.settings import *  # noqa: F403  settings are built like this

USE_TZ = False
TIME_ZONE = "Asia/Tokyo"
