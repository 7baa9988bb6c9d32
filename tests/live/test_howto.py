"""The how-to "Add live pages to your site", followed in a fresh project."""

from __future__ import annotations

import http.cookiejar
import json
import shutil
import socket
import sys
import urllib.parse
import urllib.request
from urllib.error import URLError

import pytest
from daphne.cli import CommandLineInterface
from websockets.sync.client import connect

from tests.docs.pages import DOCS, TUTORIAL, blocks
from tests.docs.test_tutorial import Reader
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PAGE = DOCS / "howto" / "live-pages.md"
#: The site that the reader has already: what the tutorial says about settings, and a flow.
FLOW = """
from django_workflow import Flow

orders = Flow("orders")


@orders.step
def reserve(input):
    return input["order"]
"""
HIDDEN_FIELD = 'name="csrfmiddlewaretoken" value="'


class Site(Reader):
    """A reader of this page, on a port that is free."""

    def __init__(self, folder):
        super().__init__(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def have_a_site(self):
        """Do what comes before the page: a project with an app and a flow."""
        self.command("$ django-admin startproject mysite .\n$ python manage.py startapp shop\n", "before", stays=False)
        settings = next(block for block in blocks(TUTORIAL) if "at its end" in block.options.get("caption", ""))
        self.write(settings.options["caption"], settings.text.replace("subscribers", "shop"))
        (self.folder / "shop" / "workflows.py").write_text(FLOW)

    def command(self, text, place, *, stays, fails=False):
        super().command(text.replace("8000", str(self.port)), place, stays=stays, fails=fails)


class Browser:
    """Just enough of one: cookies, pages, forms."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def open(self, path, **form):
        """Return where a page was found and its text; a form is sent where there is one."""
        data = urllib.parse.urlencode(form).encode() if form else None
        with self.opener.open(self.address + path, data, timeout=20) as answer:
            return answer.url.removeprefix(self.address), answer.read().decode()

    def is_served(self):
        try:
            return self.open("/admin/login/")
        except URLError:
            return None

    def cookie(self):
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    yield site
    if site.worker is not None and site.worker.poll() is None:
        site.worker.kill()
        site.worker.wait()
    site.log.close()
    site.run([sys.executable, "-m", "django_workflow.contrib.embedded", "stop", "--mode", "immediate"])
    shutil.rmtree(folder, ignore_errors=True)


def follow(site, block, lines):
    """Do what a block says, unless it shows another way or what is not part of this site."""
    head = block.line - 2 - len(block.options)
    before = lines[head - 1] if head > 0 else ""
    if "another way" in before or block.kind in {"nginx", "text"} or not (block.options or block.kind != "python"):
        return
    site.follow(block, before)


def test_howto_works_as_it_is_written(site):
    site.have_a_site()
    lines = PAGE.read_text().splitlines()
    everything = list(blocks(PAGE))
    (serving,) = (number for number, block in enumerate(everything) if "uvicorn mysite" in block.text)
    for block in everything[: serving + 1]:
        follow(site, block, lines)
    browser = Browser(site.port)
    eventually(browser.is_served, site.told, seconds=60)
    where, page = browser.open("/workflow/")
    assert where == "/admin/login/?next=/workflow/"
    token = page.split(HIDDEN_FIELD)[1].split('"')[0]
    where, page = browser.open(where, csrfmiddlewaretoken=token, username="ann", password="correct horse")
    assert where == "/workflow/"
    assert 'data-live="ws/workflow/board/"' in page
    headers = {"Cookie": browser.cookie()}
    address = f"ws://127.0.0.1:{site.port}/ws/workflow/board/"
    with connect(address, origin=browser.address, additional_headers=headers) as board:
        assert json.loads(board.recv(timeout=20))["type"] == "hello"
        for block in everything[serving + 1 :]:
            follow(site, block, lines)
        assert json.loads(board.recv(timeout=20))["type"] == "changed"
    assert "orders" in browser.open("/workflow/")[1]
    site.worker.terminate()
    site.worker.wait(30)
    assert "Traceback" not in site.told()


def test_daphne_takes_the_command_of_the_page():
    (command,) = (block.text for block in blocks(PAGE) if block.text.startswith("$ daphne"))
    program, *words = command.split()[1:]
    assert program == "daphne"
    arguments = CommandLineInterface().parser.parse_args(words)
    assert (arguments.port, arguments.application) == (8000, "mysite.asgi:application")
