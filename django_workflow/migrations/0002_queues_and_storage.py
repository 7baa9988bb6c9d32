"""pgmq, and room on the pages of hot tables so that updates stay on them (HOT)."""

from django.db import migrations

from django_workflow import queue

#: Percent of a page filled by inserts; each row is updated once or twice soon after.
FILL = {"run": 70, "steprun": 60, "task": 50}


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
