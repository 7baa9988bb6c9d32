"""The site whose sockets are tested in servers of their own; Redis where the environment names its socket."""

import os

from example_project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.live.site.urls"
if path := os.environ.get("LIVE_REDIS"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [f"unix://{path}"]},
        }
    }
