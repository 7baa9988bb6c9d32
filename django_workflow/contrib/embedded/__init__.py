"""A PostgreSQL that starts by itself, for development, tests and demonstrations.

As a Django database engine (the server starts at the first connection and stays up until it is stopped)::

    DATABASES = {
        "default": {
            "ENGINE": "django_workflow.contrib.embedded",
            "NAME": "mysite",
            "OPTIONS": {"folder": BASE_DIR / ".postgres"},  # optional; this is the default
        }
    }

or by hand, through ``django_workflow.contrib.embedded.launcher.Cluster``. The binaries come from the extra
``embedded``.
"""
