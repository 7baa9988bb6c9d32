"""`manage.py workflow_roles`: groups for those who look and those who act."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.core.management.base import CommandError
from django.db import transaction

from django_workflow.management.interruptions import InterruptibleCommand
from django_workflow.permissions import APP, ROLES


class Command(InterruptibleCommand):
    help = "Make the groups 'workflow viewer' and 'workflow operator', or give them what they lack."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done, and do nothing.")
        parser.add_argument("--database", default="default", metavar="ALIAS", help="Where users and groups are.")

    def handle(self, *args: Any, **options: Any) -> None:
        using, is_dry = options["database"], options["dry_run"]
        with transaction.atomic(using=using):
            for role, names in ROLES.items():
                self._make(f"workflow {role}", names, using, is_dry=is_dry)
        if is_dry:
            self.stdout.write("Nothing was changed: this was a dry run.")
            return
        self.stdout.write(
            "Add users in the admin (Users, Groups), or in the shell:\n"
            '  user.groups.add(Group.objects.get(name="workflow operator"))\n'
            "Who is to enter the admin besides the live pages needs is_staff, too."
        )

    def _make(self, name: str, names: tuple[str, ...], using: str, *, is_dry: bool) -> None:
        """Make one group, or add to it what it lacks; permissions that a site gave it besides stay."""
        wanted = Permission.objects.using(using).filter(content_type__app_label=APP, codename__in=names)
        found = {item.codename for item in wanted}
        if missing := sorted(set(names) - found):
            raise CommandError(f"There is no permission {', '.join(missing)}. Run first: manage.py migrate")
        group = Group.objects.using(using).filter(name=name).first()
        held = set(wanted.filter(group=group).values_list("codename", flat=True)) if group is not None else set()
        lacking = [item for item in names if item not in held]
        if group is None:
            verb = "would be made" if is_dry else "made"
        elif lacking:
            verb = "would be given what it lacks" if is_dry else "was given what it lacked"
        else:
            verb = "is as it should be"
        self.stdout.write(f"{self.style.SUCCESS(name)}: {verb}")
        for item in lacking:
            self.stdout.write(f"  + {item}")
        if is_dry or not (group is None or lacking):
            return
        if group is None:
            group = Group.objects.using(using).create(name=name)
        group.permissions.add(*wanted)
