"""The app: a table of routes over workspace, canvas and jobs; errors are JSON in the library's own words."""

from __future__ import annotations

import contextlib
import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from stylegraft.errors import StylegraftError, plain
from stylegraft.studio import capabilities, drawing, library, uploads, working
from stylegraft.studio.canvas import Canvas, alone
from stylegraft.studio.jobs import Jobs
from stylegraft.studio.security import Guard
from stylegraft.studio.turns import Superseded, Turns
from stylegraft.studio.workspace import Workspace
from stylegraft.version import __version__

STATIC = Path(__file__).parent / "static"
MOST_JSON = 1 << 20
# what the page may show of the workspace; anything else is handed out as a download, and pages in a sandbox
SHOWN = frozenset(".png .jpg .jpeg .webp .gif .mp4 .svg .txt .log .csv .json .toml .md".split())


@dataclass(frozen=True)
class Studio:
    """What every answer is made from."""

    workspace: Workspace
    canvas: Canvas
    turns: Turns
    jobs: Jobs


# An answer: from the studio and what the page sent, something JSON-able or a response of its own.
Answer = Callable[[Studio, dict[str, Any]], Any]


def build(workspace: str | Path, token: str | None = None) -> Starlette:
    """The app over a folder. token: None answers this machine alone; else whoever brings it (`security`)."""
    place = Workspace(workspace)
    studio = Studio(place, Canvas(place), Turns(alone), Jobs(place))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        studio.jobs.start()
        yield
        working.close()
        studio.jobs.close()
        studio.turns.close()

    app = Starlette(
        routes=[
            Route("/", page),
            *(
                Route(path, endpoint(studio, answer, method), methods=[method])
                for method, path, answer in ROUTES
            ),
            Route("/api/faces", streamed(studio), methods=["POST"]),
            Route("/api/draw", drawn(studio, drawing.draw), methods=["POST"]),
            Route("/api/taps", drawn(studio, drawing.taps), methods=["POST"]),
            Route("/api/directions", drawn(studio, drawing.directions), methods=["POST"]),
            Route("/api/preview", drawn(studio, drawing.preview), methods=["POST"]),
            Route("/api/translated", drawn(studio, drawing.translated), methods=["POST"]),
            Route("/api/moment", drawn(studio, drawing.moment), methods=["POST"]),
            Route("/api/target", drawn(studio, drawing.target), methods=["POST"]),
            Route("/api/mix", drawn(studio, drawing.save_mix), methods=["POST"]),
            Route("/api/upload", upload(studio), methods=["POST"]),
            Route("/file/{path:path}", file(studio)),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={
            StylegraftError: refused,
            Superseded: superseded,
            ClientDisconnect: superseded,
            OSError: refused,
            Exception: fault,
        },
        lifespan=lifespan,
    )
    app.state.studio = studio
    return app


ROUTES: tuple[tuple[str, str, Answer], ...] = (
    # method, path, what answers
    ("GET", "/api/hello", lambda studio, told: capabilities.hello(studio.workspace) | {"version": __version__}),
    ("GET", "/api/library", lambda studio, told: [asdict(entry) for entry in studio.workspace.entries()]),
    ("GET", "/api/facts", library.facts),
    ("GET", "/api/recipes", working.recipes),
    ("GET", "/api/spaces", working.spaces),
    ("GET", "/api/run", working.run),
    ("GET", "/api/study", working.study),
    ("GET", "/api/set", library.pictures),
    ("GET", "/api/jobs", lambda studio, told: studio.jobs.listing()),
    ("GET", "/api/log", lambda studio, told: studio.jobs.log(str(told.get("id", "")))),
    ("POST", "/api/plan", working.plan),
    ("POST", "/api/jobs", working.submit),
    ("POST", "/api/jobs/stop", lambda studio, told: studio.jobs.stop(str(told.get("id", "")))),
    ("POST", "/api/jobs/resume", lambda studio, told: studio.jobs.resume(str(told.get("id", "")))),
    ("POST", "/api/jobs/forget", lambda studio, told: studio.jobs.forget(str(told.get("id", "")))),
    ("POST", "/api/delete", library.delete),
)  # fmt: skip


class Told(JSONResponse):
    """JSON of anything that a file may have held: half letters are escaped, and numbers that JSON has not are null."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        try:
            return json.dumps(content, allow_nan=False).encode()
        except ValueError:
            text = json.dumps(content)
            return json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()


def endpoint(studio: Studio, answer: Answer, method: str) -> Callable[[Request], Awaitable[Response]]:
    """A route that answers in a thread of its own, so that a slow disk holds nobody up."""

    async def handle(request: Request) -> Response:
        told = dict(request.query_params) if method == "GET" else await sent(request)
        return Told(await run_in_threadpool(answer, studio, told))

    return handle


def drawn(studio: Studio, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """A route that needs the networks: in the one thread that draws, and only if it is still the newest of its page."""

    async def handle(request: Request) -> Response:
        told = await sent(request)
        page, number = turn(told)
        found = await studio.turns.take(page, number, lambda: answer(studio, told))
        png, seconds = found if isinstance(found, tuple) else (found, 0.0)
        if isinstance(png, bytes):
            headers = {"x-number": str(number), "x-milliseconds": f"{seconds * 1000:.1f}"}
            return Response(png, media_type="image/png", headers=headers)
        return Told(found)

    return handle


def streamed(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    """A route for a grid: its faces as they are drawn, piece by piece, until the page asks for something newer."""

    async def handle(request: Request) -> Response:
        told = await sent(request)
        page, number = turn(told)

        async def frames() -> AsyncIterator[bytes]:
            todo = await studio.turns.take(page, number, lambda: drawing.pieces(studio, told))
            for piece in todo:
                yield await studio.turns.take(page, number, piece)

        coming = frames()
        first = await anext(coming)  # what is wrong is said before anything is sent

        async def all_of_it() -> AsyncIterator[bytes]:
            yield first
            with contextlib.suppress(Superseded):
                async for frame in coming:
                    yield frame

        return StreamingResponse(all_of_it(), media_type="application/octet-stream")

    return handle


def turn(told: dict[str, Any]) -> tuple[str, int]:
    """Whose request this is, and which of theirs."""
    page, number = told.pop("page", ""), told.pop("number", 0)
    if not isinstance(page, str) or len(page) > 64 or isinstance(number, bool) or not isinstance(number, int):
        raise StylegraftError("page and number: expected a short text and a whole number")
    return page, number


def upload(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    """One picture, or one domain file where no set is named."""

    async def handle(request: Request) -> Response:
        name, into = request.query_params.get("name", ""), request.query_params.get("set", "")
        name = uploads.plain_name(name)
        most = uploads.MOST_BYTES if into else uploads.MOST_FILE
        data = await uploads.body(request.stream(), most, name)
        if into:
            found = await run_in_threadpool(uploads.keep_picture, studio.workspace, into, name, data)
        else:
            found = {"path": await run_in_threadpool(uploads.keep_domain, studio.workspace, name, data)}
        return Told(found)

    return handle


def file(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    """A file of the workspace: pictures and films to be seen, reports in a sandbox, the rest as downloads."""

    async def handle(request: Request) -> Response:
        path = studio.workspace.existing(request.path_params["path"])
        if not path.is_file():
            raise StylegraftError(f"{studio.workspace.name(path)}: not a file")
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = {
            "content-security-policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        }
        if path.suffix == ".html" and "download" not in request.query_params:
            return FileResponse(path, media_type="text/html", headers=headers)
        if path.suffix.lower() in SHOWN and "download" not in request.query_params:
            kind = "text/plain" if kind.startswith("text/") or path.suffix in (".json", ".toml") else kind
            return FileResponse(path, media_type=kind, headers=headers)
        return FileResponse(path, filename=path.name, headers=headers)

    return handle


async def page(request: Request) -> Response:
    """The one page."""
    return FileResponse(STATIC / "index.html", media_type="text/html")


async def sent(request: Request) -> dict[str, Any]:
    """The JSON object of a request."""
    data = await uploads.body(request.stream(), MOST_JSON, "request")
    try:
        told = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise StylegraftError("expected a JSON object")
    return told


async def refused(request: Request, error: Exception) -> Response:
    """What the library has to say, without the paths of this machine in front of names of the workspace."""
    root = f"{request.app.state.studio.workspace.root}/"
    text = str(error) if isinstance(error, StylegraftError) else f"{type(error).__name__}: {error}"
    return Told({"error": plain(text.replace(root, ""))}, 400)


async def fault(request: Request, error: Exception) -> Response:
    """A fault of ours: named, and in full where the app was started."""
    return Told(
        {"error": f"a fault of the studio, not of what you did: {type(error).__name__}: {error}"}, 500
    )


async def superseded(request: Request, error: Exception) -> Response:
    """Nothing is wrong: the page has asked for something newer."""
    return Told({"superseded": True}, 409)
