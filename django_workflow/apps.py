"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules


class DjangoWorkflowConfig(AppConfig):
    """Discovers flows in `workflows.py` of every installed app and publishes them after migrating."""

    name = "django_workflow"
    label = "django_workflow"
    verbose_name = "Workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks, find flows, and publish them after each migrate."""
        from django.db.models.signals import post_migrate, pre_migrate

        from django_workflow import checks, db, flow_checks  # noqa: F401  register the system checks
        from django_workflow.definition import containment
        from django_workflow.definition.registry import registry
        from django_workflow.engine.stored.versions import publish_after_migrate
        from django_workflow.events.renumbering import repair_after_migrate
        from django_workflow.read.rights import check_before_migrate

        registry.is_starting = lambda: not apps.ready
        containment.surroundings.append(db.guarded)
        try:
            autodiscover_modules("workflows")
        except SystemExit as error:
            # else the process would end without a word, a web server's, too
            raise ImproperlyConfigured(
                f"A workflows.py raised SystemExit({error.code!r}) when it was imported."
            ) from error
        pre_migrate.connect(check_before_migrate, sender=self, dispatch_uid="django_workflow.rights")
        post_migrate.connect(publish_after_migrate, sender=self, dispatch_uid="django_workflow.publish")
        post_migrate.connect(repair_after_migrate, sender=self, dispatch_uid="django_workflow.renumbering")
