"""How to run PostgreSQL, which refuses to run as root, when the caller is root (as in most containers and CI)."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from .errors import CannotDropRoot, FolderNotUsable

# Can the user run the programs, and reach the folder (parents of it may be closed to him)?
TRIAL = '"$1" --version >/dev/null && { test -d "$2" || { echo "cannot reach $2" >&2; exit 1; }; }'

# Root maps itself to this user inside a user namespace: the files stay root's, no system user is made.
MAPPED_ID = 1000


def claim_folder(folder: Path) -> None:
    """Create the folder unless it exists, and make sure that the caller may use it.

    Raises:
        FolderNotUsable: it is somebody else's, or cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        raise FolderNotUsable(folder, error.strerror or str(error)) from error
    me = os.geteuid()
    if me not in (0, owner):
        raise FolderNotUsable(folder, f"it belongs to {_user_name(owner)}, and you are {_user_name(me)}")


def command_prefix(folder: Path, program: Path) -> list[str]:
    """Find under which command PostgreSQL, which refuses to run as root, runs in a folder of the caller's.

    Args:
        folder: the folder that holds the data, the log and the socket.
        program: a PostgreSQL program; the user PostgreSQL runs as must be able to execute it.

    Returns:
        The words to put before a PostgreSQL command; none for a normal user.

    Raises:
        CannotDropRoot: the caller is root and neither ``unshare`` nor ``setpriv`` works here.
    """
    if os.geteuid() != 0:
        return []
    owner = folder.stat().st_uid
    if owner != 0:  # a folder made by a normal user, or by an earlier start as nobody: its files need that user
        candidates = [_as_user(owner, folder.stat().st_gid)]
    else:
        nobody = pwd.getpwnam("nobody")
        candidates = [_as_mapped_user(), _as_user(nobody.pw_uid, nobody.pw_gid)]
    tried = []
    for prefix in candidates:
        problem = _problem(prefix, program, folder)
        if problem is None:
            if owner == 0 and prefix[0] == "setpriv":
                os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            return prefix
        tried.append(f"{prefix[0]}: {problem}")
    raise CannotDropRoot(tried)


def _as_mapped_user() -> list[str]:
    return ["unshare", "--user", f"--map-user={MAPPED_ID}", f"--map-group={MAPPED_ID}", "--"]


def _as_user(uid: int, gid: int) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"]


def _problem(prefix: list[str], program: Path, folder: Path) -> str | None:
    if shutil.which(prefix[0]) is None:
        return "not installed"
    command = [*prefix, "/bin/sh", "-c", TRIAL, "sh", str(program), str(folder)]
    trial = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return None if trial.returncode == 0 else trial.stderr.strip() or f"exit code {trial.returncode}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
