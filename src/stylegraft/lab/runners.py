"""Where the cells of a study run: in this process, or in local worker processes; `cluster` has those of Ray.

A runner takes jobs and yields their outcomes as they end. A worker that is lost with its process (killed, out of
memory) is an outcome like any other. Ctrl-C stops all of them after they have saved.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from stylegraft.lab.cell import Job, Outcome, failed, summary, work
from stylegraft.lab.record import failure_of, result_of

Runner = Callable[[Sequence[Job], Callable[[str], None]], Iterator[Outcome]]
LOW = 10  # the priority of a worker, as `nice` counts
PATIENCE = 120  # seconds that a worker has to save and end


def here(jobs: Sequence[Job], say: Callable[[str], None]) -> Iterator[Outcome]:
    """One after the other, in this process."""
    for job in jobs:
        yield work(job, lambda line, key=job.cell.key: say(f"{key}: {', '.join(line.split(', ')[:2])}"))


# Local processes
# --------------------------------------------------------------------------------------------


def processes(count: int) -> Runner:
    """So many at a time, each run in a process of its own: lower priority, its share of the cores."""

    def run(jobs: Sequence[Job], say: Callable[[str], None]) -> Iterator[Outcome]:
        living: set[subprocess.Popen[str]] = set()
        stopped = threading.Event()
        with ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(_child, job, count, living, stopped) for job in jobs]
            try:
                yield from _as_they_end(futures)
            finally:  # after Ctrl-C, or when nobody listens any more
                stopped.set()
                for future in futures:
                    future.cancel()
                for child in list(living):
                    _let_go(child)

    return run


def _as_they_end(futures: Sequence[Future[Outcome | None]]) -> Iterator[Outcome]:
    left = set(futures)
    while left:
        # With a timeout: a wait without one is deaf to Ctrl-C on some systems.
        done, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
        yield from (outcome for future in done if (outcome := future.result()))


def _child(
    job: Job, count: int, living: set[subprocess.Popen[str]], stopped: threading.Event
) -> Outcome | None:
    """Run one job in a process, and say how it ended."""
    if stopped.is_set():
        return None
    threads = str(job.resources.cpu or max(1, (os.cpu_count() or 1) // count))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    child = subprocess.Popen(
        [sys.executable, "-m", "stylegraft.lab.runners"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **dict.fromkeys(names, threads)},
        start_new_session=True,  # the terminal's Ctrl-C reaches this process alone, which then lets the worker go
    )
    living.add(child)
    assert child.stdin and child.stdout and child.stderr
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(job.to_json() + "\n")
            child.stdin.flush()
        said: list[str] = []
        ear = threading.Thread(target=lambda: said.extend(child.stderr or ()), daemon=True)
        ear.start()
        busy = child.stdout.read().strip()
        status = child.wait()
        ear.join()
    finally:
        living.discard(child)
    if stopped.is_set():
        return None
    return _told(job, status, busy, said)


def _told(job: Job, status: int, busy: str, said: Sequence[str]) -> Outcome:
    """An outcome from what the worker left on the disk."""
    key = job.cell.key
    if busy:
        return Outcome(key, "busy", busy)
    if result := result_of(job.folder, job.cell):
        return Outcome(key, "done", summary(result), result["last session seconds"])
    if status == 0 and (why := failure_of(job.folder)):
        return Outcome(key, why["state"], why["error"], why["seconds"], again=bool(why["trace"]))
    last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return failed(Outcome(key, "failed", f"its process {ended}: {last}", again=True), job.folder)


def _let_go(child: subprocess.Popen[str]) -> None:
    """Close the worker's input, at which it saves and ends."""
    with contextlib.suppress(OSError, ValueError):
        if child.stdin:
            child.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE)
        return
    child.kill()


def worker() -> None:
    """The other end: one job from stdin; when stdin ends, whoever started this is gone, and it stops as by Ctrl-C."""
    text = sys.stdin.readline()
    if not text:
        return
    job = Job.from_json(text)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with contextlib.suppress(AttributeError, OSError):
        os.nice(max(0, LOW - os.nice(0)))

    def listen() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=listen, daemon=True).start()
    outcome = work(job)
    if outcome.state == "busy":
        print(outcome.text, flush=True)


if __name__ == "__main__":
    worker()
