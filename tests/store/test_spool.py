"""The spool: what a process wrote is there for the next one, whatever ended it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from router.domain.errors import StoreUnavailableError
from router.store.frames import INTENT, RECORD, entries, header
from router.store.spool import Spool
from router.store.spool_folder import SpoolFolder

SEGMENT_BYTES = 512


def spool(state: Path) -> Spool:
    return Spool(SpoolFolder.made(state), SEGMENT_BYTES)


def everything(one: Spool, position: int = 0) -> list[bytes]:
    records: list[bytes] = []
    while position != one.end:
        found, position = one.read(position)
        records += found
    return records


def test_records_come_back_in_order_over_segments(tmp_path: Path) -> None:
    """Intents are not among them."""
    one = spool(tmp_path)
    payloads = [f"[{n}]".encode() * (1 + n % 7) for n in range(60)]
    for number, payload in enumerate(payloads):
        one.record(number, payload, one.intend(number, b"intent"))
    assert everything(one) == payloads
    assert one.under_way == 0


def test_segments_go_once_they_are_written_and_nobody_needs_them(tmp_path: Path) -> None:
    """The intent of a request under way keeps its segment, and those after it."""
    one = spool(tmp_path)
    slow = one.intend(0, b"slow")
    for number in range(1, 60):
        one.record(number, b"x" * 50, one.intend(number, b"y" * 50))
    one.release(one.end)
    assert (tmp_path / one.holder / "000000000000.spool").exists()
    one.record(0, b"done", slow)
    one.release(one.end)
    assert len(list((tmp_path / one.holder).glob("*.spool"))) <= 2


def test_a_folder_is_abandoned_only_when_its_process_is_gone(tmp_path: Path) -> None:
    """The lock goes with the process; a folder is found by one heir at a time."""
    one = spool(tmp_path)
    assert list(SpoolFolder.abandoned(tmp_path)) == []
    one.close(remove=False)
    (heir,) = SpoolFolder.abandoned(tmp_path)
    assert list(SpoolFolder.abandoned(tmp_path)) == []
    heir.close(remove=True)
    assert list(tmp_path.iterdir()) == []


_WRITER = """
import os, signal, sys
from pathlib import Path
from router.store.spool import Spool
from router.store.spool_folder import SpoolFolder
spool = Spool(SpoolFolder.made(Path(sys.argv[1])))
for number in range(1000):
    spool.record(number, b"[%d]" % number, spool.intend(number, b"intent"))
spool.intend(1000, b"under way")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    """All that was written before it is there, and the folder says that it is whole."""
    done = subprocess.run([sys.executable, "-c", _WRITER, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (folder,) = SpoolFolder.abandoned(tmp_path)
    kept = [entry for _, entry in folder.entries()]
    assert [e.payload for e in kept if e.kind == RECORD] == [b"[%d]" % n for n in range(1000)]
    assert kept[-1].kind == INTENT
    assert folder.is_whole
    (folder.path / "boot").write_text("another run of the machine")
    assert not folder.is_whole
    folder.close(remove=True)


@pytest.mark.parametrize("cut", [1, 10, 20])
def test_an_entry_that_was_not_finished_is_none(cut: int) -> None:
    """Whole entries before it count."""
    whole = header(RECORD, 1, b"[1]") + b"[1]"
    torn = (header(RECORD, 2, b"[2, 2]") + b"[2, 2]")[:-cut]
    data = whole + torn + bytes(100)
    assert [entry.payload for entry in entries(data, 0, len(data))] == [b"[1]"]


def test_a_full_disk_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a signal in the middle of a request: space is taken when a segment is made."""

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    one = spool(tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(StoreUnavailableError, match="no room"):
        _filled(one)


def _filled(one: Spool) -> None:
    for number in range(60):
        one.intend(number, b"x" * 50)


def test_a_state_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """Whoever starts a router is told which setting is wrong, and why."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailableError, match=r"store\.state .* cannot be written to"):
        SpoolFolder.made(tmp_path / "file" / "state")
