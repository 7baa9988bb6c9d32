"""PostgreSQL is restarted, or crashes, while pages are open."""

import os
import subprocess
import sys

import pytest

from django_workflow.contrib.embedded.launcher import Cluster
from tests.live.servers import ROOT, Redis, Server

pytestmark = pytest.mark.chaos
DATABASE = "site"
VISITOR = """
import django
django.setup()
from tests.live.viewers import make_user, session_of
print(session_of(make_user()))
"""
NOTIFY = "SELECT pg_notify('django_workflow_run', '01990000-0000-7000-8000-000000000000')"


class Place:
    """A site with a PostgreSQL of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.cluster = Cluster(folder / "postgres")
        self.url = self.cluster.ensure_running(DATABASE).url
        self.python("-m", "django", "migrate", "--verbosity", "0")
        self.session = self.python("-c", VISITOR).strip()
        self.servers = []

    def python(self, *arguments):
        environ = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.live.site.settings", "DATABASE_URL": self.url}
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environ, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def serve(self, program="uvicorn", **environ):
        self.servers.append(Server(self.folder, f"web-{len(self.servers)}", self.url, program, **environ))
        return self.servers[-1]

    def notify(self):
        with self.cluster.connect(DATABASE, autocommit=True) as connection:
            connection.execute(NOTIFY)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("live"))
    yield place
    for server in place.servers:
        server.stop()
    place.cluster.stop("immediate")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
@pytest.mark.parametrize("program", ["uvicorn", "daphne"])
def test_pages_are_stale_while_the_server_is_away_and_catch_up_by_themselves(place, program, mode):
    page = place.serve(program).page(place.session)
    place.notify()
    assert page.hear()["type"] == "changed"
    place.cluster.stop(mode)
    assert page.hear() == {"type": "stale"}
    page.ask()
    assert page.hear() == {"type": "stale"}, "whether the user may hear anything nobody can say now"
    place.cluster.ensure_running(DATABASE)
    page.hear_until("resync")
    place.notify()
    page.hear_until("changed")
    page.close()


def test_pages_of_several_processes_catch_up(place, tmp_path):
    redis = Redis(tmp_path)
    pages = [place.serve(LIVE_REDIS=str(redis.path)).page(place.session) for _ in range(2)]
    place.cluster.stop("fast")
    for page in pages:
        page.hear_until("stale")
    place.cluster.ensure_running(DATABASE)
    for page in pages:
        page.hear_until("resync")
    for page in pages:
        page.close()
    redis.stop()
