"""Packages made for a test, beside the real ones."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture
def install(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Make a package as an installer leaves it, in a folder on sys.path."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(
        name: str,
        metadata: str | bytes | None = "",
        files: Mapping[str, str] | None = None,
        *,
        record: bool = True,
    ) -> Path:
        """`metadata`: lines beside name and version, or all of it as bytes, or None for no file at all."""
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        if isinstance(metadata, str):
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}\n"
            (info / "METADATA").write_text(text, encoding="utf-8")
        elif metadata is not None:
            (info / "METADATA").write_bytes(metadata)
        for path, content in (files or {}).items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
        if record:
            with (info / "RECORD").open("w", newline="") as file:
                csv.writer(file).writerows([path, "", ""] for path in files or {})
        return info

    return install
