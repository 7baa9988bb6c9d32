"""Async twins of blocking functions."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async


def twin(method: Any) -> Any:
    """Return the async twin of a blocking function or method; all twins are made here."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(method, thread_sensitive=True)(*args, **kwargs)

    call.__name__ = f"a{method.__name__}"
    call.__qualname__ = call.__name__
    call.__doc__ = f"Async twin of `{method.__name__}`."
    return call
