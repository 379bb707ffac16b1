"""Ties a child process to its parent, so that a killed parent leaves no orphans that nobody stops."""

import ctypes
import os
import signal
import sys

CHILD = "--child"
"""The word that tells a part of Easel that it was started by another one."""
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel send us SIGTERM when `parent` dies, however it dies; does nothing outside Linux."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        # It died before we asked.
        os.kill(os.getpid(), signal.SIGTERM)


def die_with_parent_if_told() -> None:
    """Do so if the command line says that this process was started by another part of Easel."""
    if CHILD in sys.argv[1:]:
        die_with_parent(os.getppid())
