"""pgmq, room on the pages of hot tables so that updates stay on them (HOT), and indexes that Django's core lacks."""

from django.db import migrations

from django_workflow import queue

#: Percent of a page filled by inserts. A task is updated twice soon after, by its claim and its end, a run and a step
#: run once. All versions find room on the page, for while any transaction in the server stays open, none can be
#: pruned: with less room a report of some minutes made each of these updates write to every index.
FILL = {"run": 45, "steprun": 45, "task": 33}

# For lists of runs. As model indexes they would ask every site to install django.contrib.postgres. The one on labels is
# partial, so that runs without labels pay nothing for it: whoever looks for labels says `labels <> '{}'`, too.
INDEXES = {
    "dw_run_created": "USING brin (created_at) WITH (autosummarize = on)",
    "dw_run_labels": "USING gin (labels jsonb_path_ops) WHERE labels <> '{}'",
}


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
        *[
            migrations.RunSQL(f"CREATE INDEX {name} ON django_workflow_run {how}", f"DROP INDEX {name}")
            for name, how in INDEXES.items()
        ],
    ]
