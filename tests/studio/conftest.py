"""A workspace with the toy source and two domains on it, and the app over it, as a client and as a real server."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip(
    "starlette", reason="the studio's extra is not installed: pip install 'stylegraft[studio]'"
)

HEADERS = {"x-studio": "1"}


@pytest.fixture(scope="session")
def toy_workspace(tmp_path_factory: pytest.TempPathFactory, toy_file: Path) -> Path:
    """toy.safetensors; a.safetensors moves styles, b.safetensors kernels, mapping and w_avg; none is to be written."""
    import torch

    from stylegraft import Domain, load_source
    from stylegraft.checkpoints.identity import describe_base
    from stylegraft.domains.deltas import Delta

    folder = tmp_path_factory.mktemp("workspace")
    shutil.copy(toy_file, folder / "toy.safetensors")
    source = load_source(toy_file)
    base, rng = describe_base(source), torch.Generator().manual_seed(5)
    named = dict(source.generator.named_parameters()) | {"mapping.w_avg": source.generator.mapping.w_avg}

    def domain(pick: tuple[str, ...], size: float, config: dict[str, object]) -> Domain:
        deltas = {
            name: (Delta(1.0, "dense", {"D": size * torch.randn(p.shape, generator=rng)}),)
            for name, p in named.items()
            if name.endswith(pick)
        }
        return Domain(deltas, config, base)

    domain(("affine.bias",), 0.5, {"space": "stylespace", "recipe": "dcl", "steps": 3}).save(
        folder / "a.safetensors"
    )
    domain(("conv1.weight", "fc0.weight", "w_avg"), 0.3, {"space": "full"}).save(folder / "b.safetensors")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, toy_workspace: Path) -> Path:
    """A copy that a test may write to."""
    shutil.copytree(toy_workspace, tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture
def client(workspace: Path):
    """The app without a server."""
    from starlette.testclient import TestClient

    from stylegraft.studio.app import build

    app = build(workspace)
    with TestClient(app, base_url="http://127.0.0.1:7860", headers=HEADERS) as found:
        yield found


class Serving:
    """The app behind a port, in a thread."""

    def __init__(self, folder: Path) -> None:
        import socket

        from stylegraft.studio.app import build
        from stylegraft.studio.server import server

        self.folder = folder
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"
        self.app = build(folder)
        self.server = server(self.app)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)

    def close(self) -> None:
        """End it as Ctrl-C does."""
        self.server.should_exit = True
        self.thread.join(15)
        self.socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Serving]]:
    """Begin a server over a folder; all are ended at the end."""
    begun: list[Serving] = []

    def begin(folder: Path) -> Serving:
        begun.append(Serving(folder))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


@pytest.fixture
def serving(workspace: Path, serve: Callable[[Path], Serving]) -> Serving:
    """A server over the workspace."""
    return serve(workspace)
