"""The cells of a study on a Ray cluster, whose machines need not share a disk.

The driver (the process that runs the study) puts targets and source files into Ray's object store, where every task
finds them. A desk, an actor on the driver's machine, lends run folders: a task gets what there is of its run, works in
a folder of its own, and sends back what is new: after a look, when `SEND_SECONDS` have passed, and at its end, however
it ends. A task that is lost with its process or its machine begins again elsewhere, at what had been sent.
"""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from stylegraft.adaptation.folder import open_folder
from stylegraft.errors import StylegraftError
from stylegraft.lab.cell import Job, Outcome, busy, failed, work
from stylegraft.lab.panel import Settings
from stylegraft.lab.parcel import Parcel, pack, stamps, unpack
from stylegraft.lab.runners import PATIENCE, Runner
from stylegraft.lab.study import Resources
from stylegraft.sources import SOURCES, source_path
from stylegraft.version import __version__

LOST = 3  # times that a run is begun again at once, after its process or machine is gone
WINDOW = 1000  # tasks that Ray is given at a time: each look for one that is done goes through all of them
SEND_SECONDS = 60.0  # between two parcels of one run
GONE_SECONDS = 15.0  # in which the desk of a driver that was killed lets go of its run folders
FIT_SECONDS = 120.0  # in which a machine has to answer


def on_ray(address: str | None) -> Runner:
    """One Ray task a run, with the CPUs and GPUs that the study asks for; None starts a cluster on this machine.

    This machine has to be a node of the cluster, for its disk holds the study; nothing else is shared. The same
    stylegraft and the weights that runs are looked at through have to be on every node.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise StylegraftError(
            "--ray: Ray is not installed; get it with: pip install 'stylegraft[ray]', or use --processes N"
        ) from None

    def run(jobs: Sequence[Job], say: Callable[[str], None]) -> Iterator[Outcome]:
        if not jobs:
            return
        mine = not ray.is_initialized()
        if mine:
            _join(ray, address)
        waiting: dict[Any, Job] = {}
        desk = None
        try:
            check_nodes(ray, jobs, say)
            desk = _desk(ray, Path(jobs[0].out), address)
            supplies, left = Supplies(ray), iter(jobs)
            task = ray.remote(**asks(jobs[0].resources))(away)
            while True:
                for job in islice(left, WINDOW - len(waiting)):
                    waiting[task.remote(job.to_json(), desk, *supplies.of(job))] = job
                if not waiting:
                    return
                (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
                yield _got(ray, ready, waiting.pop(ready), desk, say)
        finally:
            for task in waiting:  # after Ctrl-C: each saves, sends and ends
                ray.cancel(task, force=False)
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=PATIENCE)
            if desk:
                ray.kill(desk)
            if mine:
                ray.shutdown()

    return run


def asks(resources: Resources) -> dict[str, Any]:
    """What a run asks of Ray, which picks the machine and shows the run its own GPUs alone."""
    return {"num_cpus": resources.cpu or 1, "num_gpus": resources.gpu, "max_retries": LOST}


def _join(ray: Any, address: str | None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address=address, **quiet, **({} if address else {"include_dashboard": False}))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise StylegraftError(f"--ray {address or 'local'}: no cluster there ({error})") from None
    # Ray has put a handler of its own in place, which exits before anything is saved.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _got(ray: Any, task: Any, job: Job, desk: Any, say: Callable[[str], None]) -> Outcome:
    """How a task ended; its run folder is here by then."""
    key = job.cell.key
    try:
        outcome, tries = ray.get(task)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)  # what the task raised; else its process is gone
        said = (
            cause if isinstance(cause, StylegraftError) else f"lost on the cluster, {LOST + 1} times: {error}"
        )
        with suppress(ray.exceptions.RayError):
            ray.get(desk.back.remote(str(job.folder)))
        return failed(Outcome(key, "failed", str(said).strip().splitlines()[0], again=True), job.folder)
    if tries > 1:
        say(f"{key}: its process or machine was lost, and it was begun again ({tries - 1} of {LOST} times)")
    return outcome


# The machines
# --------------------------------------------------------------------------------------------


def check_nodes(ray: Any, jobs: Sequence[Job], say: Callable[[str], None]) -> None:
    """Ask every node that could take a run whether it can do the work; say so where none could take one today.

    Raises StylegraftError naming the first machine that lacks something.
    """
    needs = asks(jobs[0].resources)
    pairs = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"]}
    nodes = [
        node
        for node in ray.nodes()
        if node["Alive"] and all(node["Resources"].get(name, 0) >= count for name, count in pairs.items())
    ]
    if not nodes:
        wanted = " and ".join(f"{count:g} {name}" for name, count in pairs.items() if count)
        say(f"no machine of the cluster has {wanted}, which [resources] asks for a run; waiting for one")
    settings = jobs[0].trace.settings
    names = sorted({job.cell.source for job in jobs})
    task = ray.remote(num_cpus=0, max_retries=0)(lacks)
    asked: dict[Any, str] = {}
    for node in nodes:
        one = task.options(scheduling_strategy=_at(node["NodeID"])).remote(__version__, settings, names)
        asked[one] = node["NodeManagerHostname"]
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=FIT_SECONDS) if asked else ([], [])
    for one in answered:
        try:
            why = ray.get(one)
        except ray.exceptions.RayTaskError as error:
            why = f"stylegraft cannot be used there: {str(error.cause or error).strip().splitlines()[-1]}"
        except ray.exceptions.RayError:
            continue  # gone since
        if why:
            raise StylegraftError(f"--ray: node {asked[one]}: {why}")


def lacks(version: str, settings: tuple[tuple[str, Any], ...], sources: Sequence[str]) -> str:
    """What this machine lacks for runs of a study; nothing where it lacks nothing."""
    if version != __version__:
        return f"has stylegraft {__version__}, and the study is run by {version}; install the same on both"
    try:
        Settings(**dict(settings)).ready()
        for name in sources:
            if name in SOURCES:
                source_path(name)
    except StylegraftError as error:
        return str(error)
    return ""


def _at(node: str) -> Any:
    """That node and no other."""
    return import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy(node, soft=False)


# The desk, on the driver's machine
# --------------------------------------------------------------------------------------------


def _desk(ray: Any, out: Path, address: str | None) -> Any:
    """A desk on this machine; raises StylegraftError where this machine is no node of the cluster."""
    here = ray.get_runtime_context().get_node_id()
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": _at(here)}
    desk, seen = ray.remote(**options)(Desk).remote(), False
    token = out / f".desk-{uuid.uuid4().hex}.tmp"
    token.touch()
    try:
        with suppress(ray.exceptions.RayError):
            seen = ray.get(desk.sees.remote(str(token)))
    finally:
        token.unlink()
    if not seen:
        raise StylegraftError(
            f"--ray {address}: this machine, whose disk has the study, is no node of that cluster; make it one with "
            "`ray start --address=HOST:6379 --num-cpus=0`, and run the study here with --ray auto"
        )
    return desk


@dataclass
class Loan:
    """A run folder that a task has. name: of the loan; tries: of loans so far."""

    name: str
    tries: int
    lock: ExitStack = field(default_factory=ExitStack)


class Desk:
    """Lends the run folders of a study, one task a folder, and holds their locks meanwhile.

    A folder is lent anew while it is out: Ray has given its task up then. What that task may still send is refused.
    """

    def __init__(self) -> None:
        self.loans: dict[str, Loan] = {}
        self.begun = time.monotonic()

    def sees(self, path: str) -> bool:
        """Whether a file is on its disk."""
        return Path(path).is_file()

    def lend(self, key: str, place: str, loan: str) -> tuple[Parcel | Outcome, int]:
        """What there is of a run, for a task that names its loan, and the how manyth try this is; or why it cannot be
        had.
        """
        folder = Path(place)
        before = self.loans.pop(place, None)
        tries = before.tries + 1 if before else 1
        if before:
            before.lock.close()
        while True:
            one = Loan(loan, tries)
            try:
                one.lock.enter_context(open_folder(folder))
            except StylegraftError as error:
                if not (why := busy(folder)):
                    return Outcome(key, "refused", str(error)), tries
                if time.monotonic() - self.begun > GONE_SECONDS:
                    return Outcome(key, "busy", why), tries
                time.sleep(0.2)
                continue
            self.loans[place] = one
            return pack(folder), tries

    def take(self, place: str, loan: str, parcel: Parcel) -> str:
        """Write what a task sends; why not, where the disk refuses."""
        held = self.loans.get(place)
        if held is None:  # the desk itself was lost, and begun again
            held = Loan(loan, 1)
            try:
                held.lock.enter_context(open_folder(Path(place)))
            except StylegraftError as error:  # another process has it by now
                return str(error)
            self.loans[place] = held
        if held.name != loan:
            return f"{place}: has been lent anew"
        try:
            unpack(parcel, Path(place))
        except StylegraftError as error:
            return str(error)
        return ""

    def back(self, place: str, loan: str = "") -> None:
        """The folder is no longer out: of this loan, or at all."""
        if (held := self.loans.get(place)) and loan in ("", held.name):
            self.loans.pop(place).lock.close()


# The task, on any machine
# --------------------------------------------------------------------------------------------


class Supplies:
    """What tasks need beside their run folder, each put into the object store once.

    Refs are given in lists, so that Ray fetches them when they are asked for: a process that has unpacked one needs it
    no more.
    """

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.put: dict[str, tuple[str, list[Any]]] = {}

    def of(self, job: Job) -> tuple[tuple[str, list[Any]], tuple[str, list[Any]] | None]:
        """(name, [ref]) of the target's folder, and of the source where it is a file."""
        file = Path(job.cell.source)
        known = job.cell.source in SOURCES or not file.is_file()
        return self._put(Path(job.target)), None if known else self._put(file)

    def _put(self, path: Path) -> tuple[str, list[Any]]:
        if str(path) not in self.put:
            parcel = pack(path) if path.is_dir() else {path.name: path.read_bytes()}
            digest = path.name if path.is_dir() else sha256(parcel[path.name] or b"").hexdigest()[:16]
            self.put[str(path)] = f"{digest}/{path.name}", [self.ray.put(parcel)]
        return self.put[str(path)]


def away(
    text: str, desk: Any, target: tuple[str, list[Any]], source: tuple[str, list[Any]] | None
) -> tuple[Outcome, int]:
    """A run as a task: how it ended, and at the how manyth try."""
    job, loan = Job.from_json(text), uuid.uuid4().hex
    key, place, home = job.cell.key, str(job.folder), _home()
    shutil.rmtree(home / "study", ignore_errors=True)
    lent, tries = _waited(desk.lend.remote(key, place, loan))
    if isinstance(lent, Outcome):
        return lent, tries
    cell = replace(job.cell, source=_unpacked(*source)) if source else job.cell
    local = replace(job, cell=cell, out=str(home / "study"), target=_unpacked(*target))
    unpack(lent, local.folder)
    known, sent = stamps(local.folder), time.monotonic()

    def send() -> None:
        nonlocal known, sent
        parcel = pack(local.folder, known)
        here, there = local.out.encode(), job.out.encode()
        for name, data in parcel.items():
            if data and name.endswith((".txt", ".failed.json")):  # what is read by people
                parcel[name] = data.replace(here, there)
        known, sent = stamps(local.folder), time.monotonic()
        if why := _waited(desk.take.remote(place, loan, parcel)):
            raise StylegraftError(f"the driver's machine: {why}")

    def looked(line: str) -> None:
        if time.monotonic() - sent >= SEND_SECONDS:
            send()

    try:
        outcome = work(local, looked)
    except KeyboardInterrupt:  # Ctrl-C at the driver, which waits for this
        send()
        raise
    try:
        send()
    except StylegraftError as error:
        outcome = Outcome(key, "failed", str(error), outcome.seconds, again=True)
    _waited(desk.back.remote(place, loan))
    shutil.rmtree(home / "study", ignore_errors=True)
    return replace(outcome, text=outcome.text.replace(local.out, job.out)), tries


def _waited(ref: Any) -> Any:
    """What a ref stands for. `ray.get` in a task would lend its CPU to the next one meanwhile, and then two have it."""
    return ref.future().result()


def _unpacked(name: str, refs: list[Any]) -> str:
    """Where a supply lies here."""
    path = _home() / "supplies" / name
    if not path.exists():
        unpack(_waited(refs[0]), draft := _home() / "draft" / path.name)
        path.parent.mkdir(parents=True)
        draft.rename(path)
    return str(path)


@lru_cache(maxsize=1)
def _home() -> Path:
    """A folder of this process, which goes with it; those of processes that were killed go first."""
    me = f"stylegraft-{platform.node()}-"
    base = Path(tempfile.gettempdir())
    for old in base.glob(f"{me}*"):
        with suppress(ValueError, OSError):
            if not _lives(int(old.name.removeprefix(me).partition("-")[0])):
                shutil.rmtree(old)
    home = Path(tempfile.mkdtemp(prefix=f"{me}{os.getpid()}-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


def _lives(process: int) -> bool:
    """Whether a process of this machine is running; as far as can be told."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
