"""Steps on a Dask cluster; the extra `dask`.

A site names a function in `EXECUTORS` that returns a `DaskExecutor`. Its Dask workers are started with
`--preload django_workflow.contrib.dask.preload`, and with the site's code and settings in reach.
"""

from django_workflow.contrib.dask.executor import DaskExecutor

__all__ = ["DaskExecutor"]
