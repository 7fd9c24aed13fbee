"""Runs another program for no longer than we live: `dependent.py PARENT PATIENCE_S PROGRAM …`.

A program of its own between us and the other, because the kernel tells of a parent's death once
for every thread that dies with it, and Triton locks up for good when a second SIGTERM finds it
inside the first (its handler takes a mutex that its main thread may hold). This one has a single
thread, passes SIGTERM on once, and kills what has not ended `PATIENCE_S` seconds later. SIGTERM
comes first so that Triton ends its stub processes and gives its shared memory back.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_HEARD = (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD)
_CANNOT_START = 127


def main(arguments: list[str]) -> NoReturn:
    """Run the program and end as it ends: with its exit code, or by the signal that ended it."""
    parent, patience_s, program, *rest = arguments
    # Blocked, they wait until they are asked for, and none is lost between two questions.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    _end_with(int(parent), signal.SIGTERM)
    ours = os.getpid()
    # Safe between fork and exec: this process has one thread.
    child = os.fork()
    if child == 0:
        _become(ours, [program, *rest])
    # Pipes that were passed on are the program's: held here too, their readers would wait for us.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    code = os.waitstatus_to_exitcode(_watch(child, float(patience_s)))
    if os.getppid() != int(parent):
        # Nobody else is left to end what the program left behind in its group.
        os.killpg(0, signal.SIGKILL)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        os.kill(ours, -code)
    sys.exit(code)


def command_of(program: Sequence[str], patience_s: float) -> list[str]:
    """The command that runs `program` for no longer than this process lives.

    More exactly, than the thread that starts it: start it on the event loop's. The process leads
    the program if it is started in a session of its own: end both by their group. `patience_s` is
    how long after SIGTERM the program is killed.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(patience_s), *program]


def _end_with(parent: int, ending: signal.Signals) -> None:
    """Ask the kernel for `ending` when our parent, which must be `parent`, is gone."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, ending) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # It may have gone before the kernel was asked.
    if os.getppid() != parent:
        sys.exit("the parent process is gone")


def _become(parent: int, command: list[str]) -> NoReturn:
    """Replace this process, a child just forked, by the command; the environment is kept."""
    try:
        # Where the one that watches is killed itself, there is nobody to be patient.
        _end_with(parent, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        os.execv(command[0], command)  # noqa: S606 - our own program
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(_CANNOT_START)


def _watch(child: int, patience_s: float) -> int:
    """Wait for the child's end and return its wait status; SIGTERM is passed on once."""
    told = False
    while True:
        heard = signal.sigwaitinfo(_HEARD).si_signo
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if heard == signal.SIGALRM:
            os.kill(child, signal.SIGKILL)
        elif heard == signal.SIGTERM and not told:
            told = True
            os.kill(child, signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, patience_s)


if __name__ == "__main__":
    main(sys.argv[1:])
