"""Open the studio: a web app of this machine over one folder."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Switch
from stylegraft.errors import StylegraftError

LOCAL = "127.0.0.1"
PORTS = range(7860, 7880)


@dataclass(frozen=True)
class Options:
    """What `stylegraft studio` takes."""

    workspace: Annotated[Positional[Path], arg(metavar="[WORKSPACE]")] = Path()
    """The folder that it shows and writes to; nothing outside it can be reached."""
    host: Annotated[
        str | None, arg(metavar="ADDRESS", help_behavior_hint="(default: this machine alone)")
    ] = None
    """Answer other machines too, at this address (0.0.0.0: any); then only who has the printed address gets in."""
    port: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: the first free one from 7860)")
    ] = None
    """Where it listens."""
    no_browser: Switch = False
    """Print the address and open no browser."""


def run(options: Options) -> None:
    """Check, say where it is, and serve until Ctrl-C."""
    from stylegraft.applications.extras import require

    if not options.workspace.is_dir():
        found = "a file" if options.workspace.exists() else "no such folder"
        raise StylegraftError(f"{options.workspace}: {found}; expected the folder to work in")
    if find_spec("fcntl") is None:
        raise StylegraftError("studio: its trainings need locks of Unix, which Windows lacks; run it in WSL")
    require("studio", "studio")
    with bound(options.host or LOCAL, options.port) as listening:
        serve(options, listening)


def bound(host: str, port: int | None) -> socket.socket:
    """A socket at the port, or at the first free one; raises StylegraftError where there is none."""
    if port is not None and not 0 <= port <= 65535:
        raise StylegraftError(f"--port {port}: expected 0 (any free one) to 65535")
    reason = ""
    for one in PORTS if port is None else (port,):
        try:
            return socket.create_server(
                (host, one), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
        except OSError as error:
            reason = error.strerror or str(error)
    named = f"--port {port}" if port is not None else f"ports {PORTS[0]} to {PORTS[-1]}"
    raise StylegraftError(f"{named} at {host}: {reason}; choose another --port")


def serve(options: Options, listening: socket.socket) -> None:
    """Run the app on a socket that listens already."""
    import secrets
    import webbrowser

    from stylegraft.studio.app import build
    from stylegraft.studio.server import server

    token = secrets.token_urlsafe(24) if options.host else None
    host, port = listening.getsockname()[:2]
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/{f'?token={token}' if token else ''}"
    app = build(options.workspace, token)
    print(
        f"studio of {options.workspace.resolve()}\n{address}\nCtrl-C ends it; trainings that run go on",
        flush=True,
    )
    if token:
        print("whoever has this address can read and write in that folder; it is not encrypted", flush=True)
    if not options.no_browser:
        webbrowser.open(address)
    server(app).run(sockets=[listening])
