"""How a process finds the others of its run (`world`), which `torchrun` has started with it."""

from __future__ import annotations

import atexit
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import torch

from stylegraft import distributed
from stylegraft.adaptation.world import PATIENCE, World, leave
from stylegraft.devices import check_device
from stylegraft.errors import StylegraftError

MEETING = timedelta(minutes=10)  # how long they wait for each other at the start


def join(device: str) -> World:
    """The world that this process was started in, on the device of this process: of "cuda" the GPU of its local rank.

    Raises StylegraftError where there are too few GPUs, or the others cannot be reached.
    """
    if distributed.size() == 1:
        return World(device=check_device(device, "adapt"))
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    kind, _, number = device.partition(":")
    if kind == "cuda":
        if number:
            raise StylegraftError(
                f"--device {device}: each process takes a GPU of its own; expected --device cuda"
            )
        place, there = distributed.local_rank(), torch.cuda.device_count()
        if there <= place:
            raise StylegraftError(
                f"--device cuda: this is process {place + 1} on this machine, where torch sees {there} GPUs; expected "
                "a --nproc-per-node of at most that"
            )
        device = f"cuda:{place}"
        torch.cuda.set_device(place)
    device = check_device(device, "adapt")
    if not dist.is_initialized():
        try:
            store, rank, size = next(rendezvous("env://", timeout=MEETING))
            store = PrefixStore(_greeted(store, rank, size), store)
            backend = "nccl" if kind == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        except (RuntimeError, ValueError, TimeoutError) as error:
            raise StylegraftError(
                f"WORLD_SIZE={distributed.size()} is set, and the processes of this run do not find each other: start "
                "all of them with torchrun, which has to reach every machine (docs/scale.md), or unset it for a run in "
                f"one process; {str(error).splitlines()[0]}"
            ) from error
        atexit.register(leave)
    return World(dist.get_rank(), dist.get_world_size(), device)


def _greeted(store: Any, rank: int, size: int) -> str:
    """A name that the processes of this start alone know, for what they tell each other.

    torchrun's store outlives a restart, and nothing that it tells a process numbers the starts alike on all machines
    (pytorch/pytorch#135712): a process could take the address of a dead one for its peer's. So each greets by a name
    drawn now, process 0 answers with its own, and is told that the answer has come.
    """
    own, until = uuid4().hex, time.monotonic() + MEETING.total_seconds()
    missing = list(range(1, size)) if not rank else [0]
    if rank:
        store.set(f"greeting/{rank}", own)
    while missing:
        if time.monotonic() > until:
            raise TimeoutError(f"process {rank} has waited {MEETING} for {len(missing)} others")
        for other in list(missing):
            if rank:
                greeting, _, name = _read(store, f"answer/{rank}").partition(" ")
                if greeting == own:
                    store.set(f"{name}/{rank}", own)
                    return name
            elif _read(store, f"{own}/{other}"):
                missing.remove(other)
            elif greeting := _read(store, f"greeting/{other}"):
                store.set(f"answer/{other}", f"{greeting} {own}")
        time.sleep(0.02)
    return own


def _read(store: Any, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""
