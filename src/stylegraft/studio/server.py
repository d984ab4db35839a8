"""Serving the app: uvicorn, quiet, and quick to end."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette

from stylegraft.studio import working


class Server(uvicorn.Server):
    """On its way out it lets go of what only the page was waiting for; jobs go on."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        working.close()
        await super().shutdown(sockets)


def server(app: Starlette) -> Server:
    """A server of the app, for `run(sockets=[...])`."""
    return Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2))
