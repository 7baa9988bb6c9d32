"""pgmq, and room on the pages of hot tables so that updates stay on them (HOT)."""

from django.db import migrations

from django_workflow import queue

#: Percent of a page filled by inserts. A task is updated twice soon after, by its claim and its end, a run and a step
#: run once. All versions find room on the page, for while any transaction in the server stays open, none can be
#: pruned: with less room a report of some minutes made each of these updates write to every index.
FILL = {"run": 45, "steprun": 45, "task": 33}


def install_pgmq(apps, schema_editor):
    queue.install(schema_editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [("django_workflow", "0001_initial")]

    operations = [
        migrations.RunPython(install_pgmq, migrations.RunPython.noop),
        *[
            migrations.RunSQL(
                f"ALTER TABLE django_workflow_{table} SET (fillfactor = {percent})",
                f"ALTER TABLE django_workflow_{table} RESET (fillfactor)",
            )
            for table, percent in FILL.items()
        ],
    ]
