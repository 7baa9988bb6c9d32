"""The example project's settings, for its tests: parallel processes have a PostgreSQL each.

What a transaction can see depends on every other one in the same server, so tests of events that share it with
another process's tests would wait for these.
"""

import os
from pathlib import Path

from django_workflow.contrib.embedded.launcher import Cluster

PROCESS = os.environ.get("PYTEST_XDIST_WORKER")
if PROCESS and "DATABASE_URL" not in os.environ:
    common = Path(os.environ.get("DJANGO_WORKFLOW_POSTGRES") or Path(__file__).parent.parent / ".postgres")
    if not common.name.endswith(f"-{PROCESS}"):  # else set by the process that has started this one
        os.environ["DJANGO_WORKFLOW_POSTGRES"] = f"{common}-{PROCESS}"
        # each test empties the tables, and nothing of this outlives the tests: what crashes has a server of its own
        Cluster(f"{common}-{PROCESS}", settings={"fsync": "off"}).ensure_running()

from example_project.settings import *  # noqa: E402, F403  settings are built like this

# half a second less for each user that a test makes
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
