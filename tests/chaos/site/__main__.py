"""`python -m tests.chaos.site FLOW COUNT`: start runs of a flow, and print their ids."""

import os
import sys

import django


def main(slug: str, count: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.site.settings")
    django.setup()
    from django_workflow.definition.registry import registry

    handles = registry.flow(slug).start_many(range(int(count)))
    sys.stdout.write("\n".join(str(handle.id) for handle in handles))


if __name__ == "__main__":
    main(*sys.argv[1:])
