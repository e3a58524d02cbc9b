"""The process: reads a job, trains, and says on standard output how it goes.

It ends when it is told to (SIGTERM), or when whoever started it is gone, which closes the pipe that is its
standard input; either way it saves a checkpoint first. Ctrl-C is for whoever started it. Under `torchrun` it
is one of several: the first tells of the training, each of its own end.
"""

import os
import signal
import stat
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from wavenet.errors import WavebandError
from wavenet.session.job import JOB, MESSAGE, Begun, Done, Failed, Message, Reported, Told

PATIENCE_SECONDS = 120.0
"""How long an orphan may take for its last step."""


class Speaker:
    """A Reporter that writes messages. Nobody listening is no error: the files are the truth."""

    def __init__(self) -> None:
        self.stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # whatever else prints must not come between messages

    def say(self, message: Message) -> None:
        try:
            self.stream.write(MESSAGE.dump_json(message).decode() + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            pass

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.say(Begun(rows=[dict(row) for row in rows]))

    def report(self, row: Mapping[str, float]) -> None:
        self.say(Reported(row=dict(row)))

    def tell(self, message: str) -> None:
        self.say(Told(message=message))


def main(path: Path) -> int:
    """0 when the training is done, 1 when it cannot be; 3 when it was stopped and may go on."""
    stop, speaker = threading.Event(), Speaker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_watch_starter, args=[stop], daemon=True).start()
    from wavenet.disk import full_disk_told
    from wavenet.errors import TrainingStoppedError
    from wavenet.session.run import run  # torch takes seconds

    try:
        with full_disk_told(path.parent):
            run(JOB.validate_json(path.read_bytes()), speaker, stop.is_set)
        speaker.say(Done())
        return 0
    except TrainingStoppedError as error:
        speaker.say(Failed(error=type(error).__name__, message=str(error)))
        return 3
    except WavebandError as error:
        speaker.say(Failed(error=type(error).__name__, message=str(error)))
        return 1
    except Exception as error:
        traceback.print_exc()
        speaker.say(Failed(error=type(error).__name__, message=str(error)))
        return 1


def _watch_starter(stop: threading.Event) -> None:
    """Standard input says nothing and ends with whoever holds its other end: where it is a pipe."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):  # a terminal, or /dev/null of a job on a cluster
        return
    while os.read(0, 1 << 16):  # not sys.stdin, whose lock a daemon thread may not hold when all ends
        pass
    stop.set()
    threading.Event().wait(PATIENCE_SECONDS)
    os._exit(4)


def _leave(status: int) -> NoReturn:
    """End at once: all is said and on disk, and threads of torch's may abort an ordinary end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main(Path(sys.argv[1])))
