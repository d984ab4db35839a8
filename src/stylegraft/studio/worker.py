"""One long job, beside the app: runs `python -m stylegraft ...`, keeps what it says, how far it is and how it ended.

It holds a lock on its folder as long as it or the command lives, in a session of its own: the app may close and come
back. The command draws its bar as on a terminal; from that come the numbers of `progress.json`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from stylegraft.atomic import write_json

NICE = 5  # sliders go before trainings
EVERY = 0.5  # seconds between two writes of the progress
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
BAR = re.compile(
    r"(?P<before>.*?)[━╸╺\s-]*\s(?P<done>\d+)/(?P<total>\d+)\s+(?P<left>\d+:\d\d:\d\d|-:--:--)(?P<after>.*)"
)
MOST_LOG = 2 << 20  # bytes


def main(folder: Path) -> int:
    """Run the job of a folder; returns the command's status, 130 where it was stopped."""
    import fcntl

    told = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    lock = (folder / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 1  # another worker has it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is asked to stop, the worker waits for it
    env = os.environ | {
        "TTY_COMPATIBLE": "1",
        "TTY_INTERACTIVE": "1",
        "COLUMNS": "140",
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "stylegraft", *told["argv"]],
            cwd=told["cwd"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lock.fileno(),),
            restore_signals=True,
            preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.default_int_handler), os.nice(NICE))[0],
        )
        write_json(folder / "running.json", {"pid": child.pid, "started": time.time()})
        assert child.stdout is not None
        listen(child.stdout, folder, log)
        code = child.wait()
    write_json(folder / "ended.json", {"code": code, "ended": time.time()})
    return code


def listen(output: IO[bytes], folder: Path, log: IO[str]) -> None:
    """Lines go to the log, the bar into `progress.json`."""
    rest, written, size, last = "", 0.0, 0, ""
    while chunk := os.read(output.fileno(), 1 << 16):
        *lines, rest = re.split(r"[\r\n]+", ESCAPES.sub("", rest + chunk.decode("utf-8", "replace")))
        for line in (*lines, rest) if BAR.match(rest) else lines:
            if found := progress(line):
                if time.monotonic() - written > EVERY:
                    write_json(folder / "progress.json", found)
                    written = time.monotonic()
            elif (text := line.rstrip()) and text != last and size < MOST_LOG:
                last = text
                size += log.write(text + "\n")
                log.flush()


def progress(line: str) -> dict[str, object] | None:
    """What a line of the bar says: steps done and in all, seconds left, and the words beside it."""
    found = BAR.match(line)
    if not found:
        return None
    left = found["left"]
    seconds = None
    if left[0] != "-":
        hours, minutes, rest = map(int, left.split(":"))
        seconds = hours * 3600 + minutes * 60 + rest
    words = " ".join(f"{found['before']} {found['after']}".replace("━", " ").split())
    return {"done": int(found["done"]), "total": int(found["total"]), "left": seconds, "words": words[:200]}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
