"""Async twins of blocking functions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

Params = ParamSpec("Params")
Result = TypeVar("Result")


def twin(method: Callable[Params, Result]) -> Callable[Params, Coroutine[Any, Any, Result]]:
    """Return the async twin of a blocking function or method; all twins are made here."""

    @wraps(method)
    async def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        return await sync_to_async(method, thread_sensitive=True)(*args, **kwargs)

    call.__name__ = f"a{method.__name__}"
    call.__qualname__ = call.__name__
    call.__doc__ = f"Async twin of `{method.__name__}`."
    return call
