"""Ties a child process to its parent, so that a killed parent leaves no orphans that nobody stops."""

import ctypes
import os
import signal
import sys

_CHILD = "--child"
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel send us SIGTERM when `parent` dies, however it dies; does nothing outside Linux."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        # It died before we asked.
        os.kill(os.getpid(), signal.SIGTERM)


def child_words() -> list[str]:
    """Return what a part is told that is started here: it dies with us."""
    # Who we are, as it may be seconds before it asks: if we are gone by then, its parent is somebody else.
    return [_CHILD, str(os.getpid())]


def die_with_parent_if_told() -> bool:
    """Do so if the command line says that this process was started by another part of Easel; tell whether it does."""
    match sys.argv[1:]:
        case [word, parent] if word == _CHILD and parent.isdecimal():
            die_with_parent(int(parent))
            return True
    return False
