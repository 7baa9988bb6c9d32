"""Steps on a Dask cluster; the extra `dask`.

A site names a function in `EXECUTORS` that returns a `DaskExecutor`. Its Dask workers are started with
`--preload django_workflow.contrib.dask.preload`, and with the site's code and settings in reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_workflow.contrib.dask.executor import DaskExecutor

__all__ = ["DaskExecutor"]


def __getattr__(name: str) -> Any:
    """Import the executor when it is asked for: the preload beside it comes before Django is set up."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from django_workflow.contrib.dask.executor import DaskExecutor  # noqa: PLC0415  see above

    return DaskExecutor
