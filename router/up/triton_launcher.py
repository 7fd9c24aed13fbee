"""Becomes the Triton server: `triton_launcher.py PARENT_ID PROGRAM ARGUMENT…`.

A program of its own, because code between fork and exec is not safe in a process with threads.
The kernel is asked to end the server with us, kill -9 included: SIGTERM and not SIGKILL, so that
it ends its stub processes and gives its shared memory back.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replace this process by the program; the environment is the program's."""
    parent, program, *rest = arguments
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # The parent may have gone before the kernel was asked.
    if os.getppid() != int(parent):
        sys.exit("the parent process is gone")
    os.execv(program, [program, *rest])  # noqa: S606 - our own program


if __name__ == "__main__":
    main(sys.argv[1:])
