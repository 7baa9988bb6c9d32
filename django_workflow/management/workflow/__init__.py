"""The subcommands of `manage.py workflow`."""

from django_workflow.management.workflow.control import subcommands
from django_workflow.management.workflow.dead_letters import Dead
from django_workflow.management.workflow.following import Events, Logs
from django_workflow.management.workflow.runs import List
from django_workflow.management.workflow.show import Show
from django_workflow.management.workflow.starting import Start
from django_workflow.management.workflow.subcommand import Subcommand
from django_workflow.management.workflow.workers_and_queues import Queues, Workers

#: In the order in which help lists them.
SUBCOMMANDS: tuple[Subcommand, ...] = (
    List(),
    Show(),
    Start(),
    *subcommands(),
    Dead(),
    Events(),
    Logs(),
    Queues(),
    Workers(),
)
