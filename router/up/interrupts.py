"""Ctrl-C and SIGTERM: the first asks for a clean end, the second for a quick one."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """`first` and `second` are set as signals arrive while `caught` lasts."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals of this process; needs the main thread's running loop."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._arrive)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _arrive(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


async def finish_unless(work: Coroutine[object, object, None], event: asyncio.Event) -> bool:
    """Run `work`, cancelled when `event` is set; whether it came to its end. Its errors pass."""
    task = asyncio.create_task(work)
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    if task.cancelled():
        return False
    task.result()
    return True
