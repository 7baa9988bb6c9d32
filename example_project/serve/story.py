"""Serving, from nothing to the last process ended."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from django.db import InterfaceError, OperationalError, connections
from django.urls import reverse

from example_project.database import database
from example_project.demo.output import DemoFailed
from example_project.models import Order
from example_project.serve import traffic
from example_project.serve.children import Child, child
from example_project.serve.users import OPERATOR, VIEWER, make_users

HOST = "127.0.0.1"
#: Seconds within which the site answers.
PATIENCE = 60.0
#: Seconds between two looks at the processes.
LOOK = 0.5
#: Seconds that the worker may finish what it does, and the site what it answers.
WORKER_GRACE, SITE_GRACE = 5, 5
#: Orders without a run, for whoever wants to start one.
WAITING_ORDERS = 3


def serve(port: int) -> None:
    """Start everything, keep runs going until somebody stops it, and end everything."""
    print("django_workflow: the live pages of an example\n")
    with listening(port) as listener, database():
        passwords = make_users()
        waiting = traffic.waiting_orders(WAITING_ORDERS)
        traffic.store_documents()
        traffic.open_shop()
        worker = ["manage.py", "run_workflow_worker", "--grace", str(WORKER_GRACE), "--quiet"]
        site = ["-m", "example_project.serve.site", str(listener.fileno())]
        with (
            child("worker", worker, grace=WORKER_GRACE + 5) as working,
            child("site", site, grace=SITE_GRACE, descriptors=[listener.fileno()]) as answering,
        ):
            address = f"http://{HOST}:{listener.getsockname()[1]}"
            wait_until_it_answers(address, answering)
            show(address, passwords, waiting)
            keep_going([working, answering])


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Bind the port before anything else is started: if that is not possible, nothing has to be undone."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else Ctrl-C and again: the port is in use
        try:
            listener.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise DemoFailed(
                    f"port {port} is in use; choose another one: python3 run.py serve --port {port % 65_535 + 1}"
                ) from None
            raise DemoFailed(f"cannot listen on port {port}: {error.strerror}") from None
        listener.listen()
        yield listener


def wait_until_it_answers(address: str, site: Child) -> None:
    """Ask the site for a page; raises `DemoFailed` if it ends or does not answer."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        site.check()
        try:
            with urlopen(address + reverse("login"), timeout=LOOK):  # noqa: S310  our own address
                return
        except HTTPError as error:
            raise DemoFailed(f"the site answered {error.code} {error.reason}") from None
        except (URLError, TimeoutError):
            continue  # it has not come to this request yet
    raise DemoFailed(f"the site did not answer within {PATIENCE:.0f} s")


def show(address: str, passwords: Mapping[str, str], waiting: Sequence[Order]) -> None:
    """Print where to look, as whom, and what to try."""
    board = reverse("django_workflow:board")
    orders = " or ".join(f'{{"order": {order.pk}}}' for order in waiting)
    print(
        f"""
  Open       {address}{board}

  Log in as  {OPERATOR:10} password {passwords[OPERATOR]:14}  acts: starts, pauses, cancels, retries; sees all data
        or   {VIEWER:10} password {passwords[VIEWER]:14}  looks: neither buttons, nor data, nor logs

  Admin      {address}{reverse("admin:index")} (as {OPERATOR})
  Try        start a run of `orders` with the input {orders}

  Runs keep going; steps take about as long as one needs to watch them. Ctrl-C ends all of it.
"""
    )


def keep_going(children: Sequence[Child]) -> None:
    """Start runs at a gentle pace, and watch over the processes; ends by a signal, or by `DemoFailed`."""
    due = time.monotonic()
    while True:
        for process in children:
            process.check()
        if time.monotonic() >= due:
            due = time.monotonic() + traffic.pause_until_next()
            start_something()
        time.sleep(LOOK)


def start_something() -> None:
    """Start a run, if the database is there; its restart is something to watch, not an end."""
    try:
        traffic.start_something()
    except (OperationalError, InterfaceError) as error:
        print(f"  {'PostgreSQL':11} {str(error).splitlines()[0] if str(error) else 'is away'}; trying again")
        connections.close_all()
