"""Nobody but this machine's own page gets in, and nothing outside the workspace can be named."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from stylegraft.errors import StylegraftError
from stylegraft.studio.security import COOKIE, Guard, hostname, refusal
from stylegraft.studio.workspace import Workspace

GOOD = {"host": "127.0.0.1:7860", "x-studio": "1"}


@pytest.mark.parametrize(
    ("method", "headers", "words"),
    [
        ("GET", {"host": "evil.example:7860"}, "this machine alone"),
        ("GET", {"host": "127.0.0.1.evil.example"}, "this machine alone"),
        ("GET", {}, "this machine alone"),
        ("POST", {**GOOD, "origin": "http://evil.example"}, "another site"),
        ("GET", {**GOOD, "origin": "null"}, "another site"),
        ("POST", {**GOOD, "origin": "http://127.0.0.1:9999"}, "another site"),
        ("POST", {**GOOD, "sec-fetch-site": "cross-site"}, "another site"),
        ("POST", {"host": "127.0.0.1:7860"}, "does not come from the page"),
        ("POST", {**GOOD, "content-length": str(1 << 40)}, "MB in one request"),
    ],
)
def test_what_is_refused_without_a_token(method: str, headers: dict[str, str], words: str):
    assert words in refusal(method, headers, None)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:1", "127.0.0.1", "[::1]:7860"])
def test_this_machine_gets_in(host: str):
    assert refusal("POST", {"host": host, "x-studio": "1", "origin": f"http://{host}"}, None) == ""


def test_hosts_are_read_with_and_without_ports():
    assert [hostname(h) for h in ("a:1", "a", "[::1]:1", "[::1]", "::1")] == [
        "a",
        "a",
        "[::1]",
        "[::1]",
        "::1",
    ]


def test_a_token_is_needed_once_and_leaves_the_address(workspace: Path):
    from starlette.testclient import TestClient

    from stylegraft.studio.app import build

    with TestClient(
        build(workspace, "secret"), base_url="http://box:7860", headers={"x-studio": "1"}
    ) as client:
        assert client.get("/api/hello").status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        answer = client.get("/?token=secret", follow_redirects=False)
        assert answer.status_code == 303 and answer.headers["location"] == "/"
        kept = answer.headers["set-cookie"]
        assert COOKIE in kept and "HttpOnly" in kept and "SameSite=Strict" in kept
        assert client.get("/api/hello").status_code == 200
        assert client.get("/api/hello", headers={"cookie": f"{COOKIE}=other"}).status_code == 403


def test_every_answer_forbids_foreign_code(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "script-src" not in policy, "scripts follow default-src: no inline ones, none from elsewhere"
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = answer.text + "".join(
        p.read_text() for p in (Path(__file__).parents[2] / "src/stylegraft/studio/static").iterdir()
    )
    assert not [u for u in ("https://", "@import", "innerHTML", "eval(") if u in page]
    assert page.replace("http://www.w3.org/2000/svg", "").count("http://") == 0, (
        "the page works without a network"
    )


def test_websockets_are_not_answered():
    import asyncio

    async def app(scope, receive, send):
        raise AssertionError("reached")

    asyncio.run(Guard(app)({"type": "websocket", "headers": []}, None, None))


@pytest.mark.parametrize(
    "name",
    [
        "../up",
        "a/../../up",
        "/etc/passwd",
        "",
        "\0",
        "a\0b",
        "~/x",
        "C:/x",
        "a\\b",
        "-rf",
        ".studio/jobs",
        "a/.git/config",
        "x/-o",
    ],
)
def test_names_that_lead_anywhere_else_are_refused(workspace: Path, name: str):
    with pytest.raises(StylegraftError, match="not a name inside the workspace"):
        Workspace(workspace).path(name)


def test_links_out_of_the_workspace_are_neither_listed_nor_followed(workspace: Path, tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.safetensors").write_bytes((workspace / "a.safetensors").read_bytes())
    (workspace / "link").symlink_to(tmp_path / "outside")
    (workspace / "one.safetensors").symlink_to(tmp_path / "outside" / "secret.safetensors")
    place = Workspace(workspace)
    assert {e.path for e in place.entries()} == {"toy.safetensors", "a.safetensors", "b.safetensors"}
    for name in ("link/secret.safetensors", "one.safetensors"):
        with pytest.raises(StylegraftError, match="leads out of the workspace"):
            place.existing(name)


@pytest.mark.parametrize(
    "path",
    [
        "/file/..%2f..%2fetc/passwd",
        "/file/%2e%2e/toy.safetensors",
        "/file//etc/passwd",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
    ],
)
def test_no_address_reads_outside(client, path: str):
    answer = client.get(path)
    assert (
        answer.status_code in (400, 404)
        and b"root:" not in answer.content
        and b"Starlette" not in answer.content
    )


def picture(side: int = 32, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(buffer, kind)
    return buffer.getvalue()


def huge_header() -> bytes:
    """A PNG of a few bytes whose header says 40,000 x 40,000."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("../../evil.png", picture(), "not a plain file name"),
        ("a/b.png", picture(), "not a plain file name"),
        (".hidden.png", picture(), "not a plain file name"),
        ("x.exe", picture(), "no picture"),
        ("broken.png", picture()[:60], "broken or not a picture"),
        ("text.png", b"hello", "broken or not a picture"),
        ("empty.png", b"", "is empty"),
        ("tiny.png", picture(8), "expected at least 16 px"),
        ("huge.png", huge_header(), "megapixels"),
    ],
)
def test_uploads_that_would_stop_a_run_are_refused_in_its_words(
    client, workspace: Path, name: str, data: bytes, words: str
):
    before = sorted(workspace.rglob("*"))
    answer = client.post("/api/upload", params={"set": "mine", "name": name}, content=data)
    assert answer.status_code == 400 and words in answer.json()["error"]
    assert sorted(workspace.rglob("*")) == before and not list(workspace.parent.glob("evil*"))


def test_uploads_are_bounded_while_they_come(client, monkeypatch: pytest.MonkeyPatch):
    from stylegraft.studio import uploads

    monkeypatch.setattr(uploads, "MOST_BYTES", 100_000)
    sent = []

    def stream():
        for _ in range(40):
            sent.append(1)
            yield b"x" * 50_000

    answer = client.post("/api/upload", params={"set": "mine", "name": "a.png"}, content=stream())
    assert answer.status_code == 400 and "MB; reduce it first" in answer.json()["error"]
    monkeypatch.setattr(uploads, "MOST_PICTURES", 2)
    for i in range(2):
        assert (
            client.post(
                "/api/upload", params={"set": "mine", "name": f"{i}.png"}, content=picture()
            ).status_code
            == 200
        )
    answer = client.post("/api/upload", params={"set": "mine", "name": "3.png"}, content=picture())
    assert answer.status_code == 400 and "at most 2 in a set" in answer.json()["error"]


def test_a_domain_file_is_kept_only_after_every_check(client, workspace: Path):
    good = (workspace / "a.safetensors").read_bytes()
    assert client.post("/api/upload", params={"name": "mine.safetensors"}, content=good).json() == {
        "path": "mine.safetensors"
    }
    damaged = good[:-1] + bytes([good[-1] ^ 1])
    for name, data in (
        ("bad.safetensors", damaged),
        ("toy2.safetensors", (workspace / "toy.safetensors").read_bytes()),
    ):
        answer = client.post("/api/upload", params={"name": name}, content=data)
        assert answer.status_code == 400 and name in answer.json()["error"]
        assert not (workspace / name).exists()


def test_reports_are_shown_in_a_sandbox_and_other_files_as_downloads(client, workspace: Path):
    (workspace / "report.html").write_text("<script>alert(1)</script>")
    (workspace / "x.svg").write_text("<svg/>")
    (workspace / "x.js").write_text("alert(1)")
    for name in ("report.html", "x.svg"):
        assert client.get(f"/file/{name}").headers["content-security-policy"].startswith("sandbox;")
    assert client.get("/file/x.js").headers["content-disposition"].startswith("attachment")
