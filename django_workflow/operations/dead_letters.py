"""What people do about dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import ngettext as _n

from django_workflow import permissions, runs
from django_workflow.conf import conf
from django_workflow.models import Task
from django_workflow.models.querysets import TaskQuerySet
from django_workflow.operations.operation import Done, Preview, Words, lines
from django_workflow.operations.several import Selection, Several
from django_workflow.read.versions import check_readable


class DeadLetterOperation(Several[Task]):
    """Something that people do to dead letters: failed tasks that ended their runs."""

    permission = permissions.RETRY
    noun = "dead letter"

    def missing(self, count: int) -> str:
        return f"{count} are no dead letters, or are no more"

    def dead(self) -> TaskQuerySet:
        """Return the tasks that it can be done to."""
        tasks: TaskQuerySet = Task.objects.using(conf.DATABASE)
        return tasks.fatal()

    def select(self, user: Any, ids: Sequence[int]) -> Selection[Task]:
        tasks = self.dead().select_related("run__flow", "step_run").defer("run__input", "run__output", "item", "output")
        selection = Selection[Task]()
        for task in tasks.filter(pk__in=ids).order_by("pk"):
            if not permissions.may(user, permissions.VIEW, task.run.flow):
                continue
            if permissions.may(user, self.permission, task.run.flow):
                selection.fit.append(task)
            else:
                selection.forbidden += 1
        selection.missing = len(set(ids)) - len(selection.fit) - selection.forbidden
        return selection


class RetryDeadLetters(DeadLetterOperation):
    """Retry the runs of dead letters."""

    name, label, past = "retry", "Retry", "retried"
    meaning = "Each run they belong to is retried once: what failed in it, and what follows, runs again."

    @property
    def menu(self) -> str:
        return "Retry the runs of selected dead letters"

    def dead(self) -> TaskQuerySet:
        tasks: TaskQuerySet = Task.objects.using(conf.DATABASE)
        return tasks.dead()

    def touched(self, target: Selection[Task], words: Words) -> Preview:
        count = len({task.run_id for task in target.fit})
        return Preview(lines((count, _n("run will be retried", "runs will be retried", count))))

    def perform_on(self, selection: Selection[Task], words: Words, by: str) -> Done:
        found: dict[Any, Any] = {task.run_id: task.run for task in selection.fit}
        for run in {run.version_id: run for run in found.values()}.values():
            check_readable(run)
        made = runs.retry_dead_letters([task.pk for task in selection.fit], by, words.reason)
        text = f"{len(made)} runs were retried." if len(made) != 1 else "1 run was retried."
        return Done(text, list(found.values()), "Retried, for its dead letters")


class Dismiss(DeadLetterOperation):
    """Record that dead letters need nothing more."""

    name, label, past = "dismiss", "Dismiss", "dismissed"
    meaning = "They are no longer listed. Nothing runs. The reason is kept."
    is_dangerous = needs_reason = True

    def touched(self, target: Selection[Task], words: Words) -> Preview:
        count = len(target.fit)
        return Preview(lines((count, _n("dead letter will be dismissed", "dead letters will be dismissed", count))))

    def perform_on(self, selection: Selection[Task], words: Words, by: str) -> Done:
        count = runs.dismiss_dead_letters([task.pk for task in selection.fit], words.reason, by)
        text = f"{count} dead letters were dismissed." if count != 1 else "1 dead letter was dismissed."
        return Done(text, selection.fit, "Dismissed")
