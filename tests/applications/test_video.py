"""Films: what is decoded is what was drawn, the same bytes twice, and nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylegraft.applications import video
from stylegraft.applications.video import check_length, check_video, write_video
from stylegraft.errors import StylegraftError

ALL = (".mp4", ".gif", ".webp")


def waves(count: int = 10, height: int = 32, width: int = 48) -> list[Tensor]:
    """Smooth pictures that move: [3, H, W] in [-1, 1]."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None]
    return [torch.stack([(3 * x + i / 3 + y).sin(), (2 * y - i / 4 + x).cos(), x * y]) for i in range(count)]


def decoded(path: Path) -> tuple[dict, list[np.ndarray]]:
    """The header of an MP4 and its frames [H, W, 3]."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    frames = imageio_ffmpeg.read_frames(str(path))
    head = next(frames)
    width, height = head["size"]
    return head, [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]


def pixels(frame: Tensor, factor: int) -> np.ndarray:
    levels = (frame * 127.5 + 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy()
    return levels.repeat(factor, 0).repeat(factor, 1)


def test_an_mp4_holds_every_frame_at_its_size_and_rate_in_its_colours(tmp_path: Path):
    assert write_video(tmp_path / "a.mp4", waves(), fps=25) == 10
    head, frames = decoded(tmp_path / "a.mp4")
    assert head["size"] == (48 * 8, 32 * 8)  # the smaller side comes to 256 px
    assert (head["fps"], head["codec"]) == (25, "h264")
    assert head["pix_fmt"].startswith("yuv420p(tv, bt709")
    assert len(frames) == 10
    for frame, wave in zip(frames, waves(), strict=True):
        apart = np.abs(frame.astype(float) - pixels(wave, 8))
        assert apart.mean() < 4  # of 255: chroma is halved


def test_an_odd_side_of_an_mp4_repeats_its_last_row(tmp_path: Path):
    write_video(tmp_path / "a.mp4", waves(2, 257, 301), scale=1)
    head, frames = decoded(tmp_path / "a.mp4")
    assert head["size"] == (302, 258)
    assert np.abs(frames[0][257].astype(int) - frames[0][256]).mean() < 4


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_gif_and_a_webp_play_in_a_circle_for_as_long(suffix: str, tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    assert write_video(path, waves(12), fps=30, scale=2) == 12
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (12, (96, 64), 0)
        lasts, apart = [], []
        for i, wave in enumerate(waves(12)):
            image.seek(i)
            image.load()
            lasts.append(image.info["duration"])
            apart.append(np.abs(np.asarray(image.convert("RGB"), float) - pixels(wave, 2)).mean())
    assert sum(lasts) == 400  # ms: hundredths of a second are shared out, not rounded away
    assert max(apart) < 10  # 256 colours


@pytest.mark.parametrize("suffix", ALL)
def test_the_same_frames_give_the_same_bytes(suffix: str, tmp_path: Path):
    for name in "ab":
        write_video(tmp_path / f"{name}{suffix}", waves(4), scale=2)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ALL)
def test_batches_levels_and_grey_are_frames_too(suffix: str, tmp_path: Path):
    levels = (torch.stack(waves(4)) * 127.5 + 127.5).round().to(torch.uint8)
    write_video(tmp_path / f"a{suffix}", [levels[:3], levels[3]], scale=2)
    write_video(tmp_path / f"b{suffix}", list(levels), scale=2)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    write_video(tmp_path / f"c{suffix}", levels[:, :1], scale=2)
    write_video(tmp_path / f"d{suffix}", levels[:, :1].expand(-1, 3, -1, -1), scale=2)
    assert (tmp_path / f"c{suffix}").read_bytes() == (tmp_path / f"d{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("stop", [KeyboardInterrupt, StylegraftError])
def test_what_stops_the_frames_leaves_what_was_there(suffix: str, stop: type, tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    path.write_text("before")

    def frames():
        yield from waves(3)
        raise stop("enough")

    with pytest.raises(stop):
        write_video(path, frames(), scale=2)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_mp4_is_written_as_its_frames_come(tmp_path: Path):
    """Memory does not grow with the film: no frame is kept when the next is asked for."""
    import weakref

    alive: list[weakref.ref] = []

    def frames():
        for wave in waves(1) * 20:
            frame = wave.clone()
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(ref() is not None for ref in alive) <= 2

    write_video(tmp_path / "a.mp4", frames(), scale=2)


@pytest.mark.parametrize(
    ("name", "frames", "said"),
    [
        ("a.avi", waves(1), "ends in .mp4, .gif, .webp"),
        ("a.mp4", [], "no frames"),
        ("a.mp4", [torch.zeros(4, 8, 8)], r"a frame is \[1 or 3, H, W\], found \[4, 8, 8\]"),
        ("a.webp", [torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)], r"\[3, 8, 9\] among frames of \[3, 8, 8\]"),
        ("nowhere/a.gif", waves(2), "its folder does not exist"),
        ("nowhere/a.mp4", waves(2), "ffmpeg could not write it: .*No such file"),
    ],
)
def test_what_cannot_be_written_is_one_line(name: str, frames: list[Tensor], said: str, tmp_path: Path):
    with pytest.raises(StylegraftError, match=said) as error:
        write_video(tmp_path / name, frames)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "fps"), [("a.mp4", 0.0), ("a.mp4", float("nan")), ("a.gif", 60.0)])
def test_a_rate_that_players_do_not_keep_is_refused(name: str, fps: float):
    with pytest.raises(StylegraftError, match="fps"):
        check_video(name, fps)


def test_an_mp4_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(StylegraftError, match=r"pip install 'stylegraft\[video\]'"):
        check_video("a.mp4")
    check_video("a.webp")


def test_a_long_gif_is_refused_before_and_while_it_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(video, "MOST_PIXELS", 3 * 256**2)
    check_length("a.gif", 3, 64)
    check_length("a.mp4", 10**6, 64)
    for refused in (
        lambda: check_length("a.gif", 4, 64),
        lambda: write_video(tmp_path / "a.gif", waves(4, 64, 64)),
    ):
        with pytest.raises(StylegraftError, match=r"at most 3 frames.*\.mp4 has no such limit"):
            refused()
    assert not list(tmp_path.iterdir())


def test_the_module_needs_no_torch_to_refuse():
    code = (
        "import sys, stylegraft.applications.video; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
