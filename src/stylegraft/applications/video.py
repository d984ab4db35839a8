"""Frames to a film: MP4 (H.264, by the ffmpeg of the wheel imageio-ffmpeg), GIF and WebP (Pillow).

The same frames give the same bytes: no time stamps, one thread. The file is there when it is whole: Ctrl-C, a full disk
or an error in the frames leave what stood there before. torch is not imported before there are frames.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.atomic import replacing
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from torch import Tensor

VIEWABLE = 256  # px: players blur what they enlarge; enlarged here by whole factors, a pixel stays a square
MOST_PIXELS = 1 << 27  # of all frames of a GIF or WebP together: Pillow keeps them (400 MB)
FASTEST = {".mp4": 240, ".gif": 50, ".webp": 240}  # frames a second; a GIF's players refuse 1/100 s


def write_video(
    path: str | Path, frames: Iterable[Tensor], fps: float = 30.0, *, scale: int | None = None
) -> int:
    """Write frames as .mp4, .gif or .webp (the last two play in a circle) and return how many there were.

    frames: each [C, H, W] or [B, C, H, W], C 1 or 3, uint8 or float in [-1, 1], all of one size; an MP4 holds one at a
    time in memory. scale: whole factor of nearest enlargement, None brings the smaller side to 256 px at least. An MP4
    needs even sides: an odd one repeats its last row. Raises StylegraftError for another suffix, without ffmpeg, for no
    frames, frames that are none, and when the disk refuses.
    """
    check_video(path, fps)
    pictures = _pictures(frames, path)
    first = next(pictures, None)
    if first is None:
        raise StylegraftError(f"{path}: no frames, so no film")
    count = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal count
        for picture in chain([first], pictures):
            count += 1
            yield picture

    height, width = first.shape[:2]
    film = Film(path, counted(), height, width, scale or enlargement(min(height, width)), fps)
    with replacing(path) as temporary:
        WRITERS[Path(path).suffix.lower()](film, temporary)
    return count


@dataclass(frozen=True)
class Film:
    """path: where it goes, for errors; pictures: uint8 [height, width, 3], to be enlarged by factor."""

    path: str | Path
    pictures: Iterator[np.ndarray]
    height: int
    width: int
    factor: int
    fps: float


def check_video(path: str | Path, fps: float = 30.0) -> None:
    """Refuse what `write_video` could not write, before anything is rendered: the suffix, fps, a missing ffmpeg."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise StylegraftError(f"{path}: expected a name that ends in {', '.join(WRITERS)}")
    if not 0 < fps <= FASTEST[suffix]:
        raise StylegraftError(
            f"--fps {fps:g}: expected more than 0 and, in a {suffix}, {FASTEST[suffix]} at most"
        )
    if suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise StylegraftError(
            f"{path}: an MP4 needs an extra: pip install 'stylegraft[video]'; .gif and .webp need none"
        )


def enlargement(side: int) -> int:
    """The whole factor that brings the smaller side of a frame to 256 px at least."""
    return -(-VIEWABLE // side)


def check_length(path: str | Path, count: int, side: int, scale: int | None = None) -> None:
    """Refuse a GIF or WebP of more square frames than Pillow should keep in memory, before they are rendered."""
    pixels = (side * (scale or enlargement(side))) ** 2
    if Path(path).suffix.lower() != ".mp4" and count * pixels > MOST_PIXELS:
        raise _too_long(path, MOST_PIXELS // pixels)


def _too_long(path: str | Path, most: int) -> StylegraftError:
    return StylegraftError(
        f"{path}: at this size at most {most} frames, all of which are kept in memory; an .mp4 has no such limit"
    )


def _pictures(frames: Iterable[Tensor], path: str | Path) -> Iterator[np.ndarray]:
    """Each frame as uint8 [H, W, 3], checked against the first."""
    from stylegraft.data.pixels import to_uint8

    shape = None
    for given in frames:
        if given.ndim not in (3, 4) or given.shape[-3] not in (1, 3):
            raise StylegraftError(f"{path}: a frame is [1 or 3, H, W], found {list(given.shape)}")
        shape = shape or given.shape[-3:]
        if given.shape[-3:] != shape:
            raise StylegraftError(
                f"{path}: a frame of {list(given.shape[-3:])} among frames of {list(shape)}"
            )
        for frame in to_uint8(given).cpu().reshape(-1, *shape):
            yield frame.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


def _write_mp4(film: Film, temporary: Path) -> None:
    """Through a pipe to ffmpeg, which is in a session of its own, so that Ctrl-C stops this process and not that."""
    import imageio_ffmpeg
    import numpy as np

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:  # an install from source carries none
        raise StylegraftError(
            f"{film.path}: imageio-ffmpeg found no ffmpeg: install its wheel, or write .gif or .webp"
        ) from error
    height, width = film.height * film.factor, film.width * film.factor
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    colours = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"  # untagged, players guess
    command = [
        *(program, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-s", f"{width + odd[1][1]}x{height + odd[0][1]}", "-r", f"{film.fps:.6g}", "-i", "-"),
        *("-vf", f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,setparams={colours}"),
        *("-c:v", "libx264", "-crf", "16", "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
        *("-map_metadata", "-1", "-movflags", "+faststart", "-f", "mp4", str(temporary)),
    ]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, start_new_session=True)
        assert process.stdin is not None
        try:
            for picture in film.pictures:
                large = picture.repeat(film.factor, 0).repeat(film.factor, 1)
                process.stdin.write(np.pad(large, odd, "edge").tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, and says why on its own
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        if process.returncode:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            why = lines[-1][:200] if lines else f"status {process.returncode}"
            raise StylegraftError(f"{film.path}: ffmpeg could not write it: {why}")


def _write_gif(film: Film, temporary: Path) -> None:
    """256 colours a frame, without dither, which would flicker."""
    from PIL import Image

    def palettes() -> Iterator[PIL.Image.Image]:
        shown = 0
        for number, picture in enumerate(_limited(film), 1):
            image = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE)
            image = _enlarged(image, film.factor)
            until = round(100 * number / film.fps)  # in the hundredths of the format, without drift
            image.info["duration"] = 10 * (until - shown)
            shown = until
            yield image

    images = palettes()
    next(images).save(temporary, "GIF", save_all=True, append_images=images, loop=0)


def _write_webp(film: Film, temporary: Path) -> None:
    from PIL import Image

    first, *others = (_enlarged(Image.fromarray(picture), film.factor) for picture in _limited(film))
    first.save(
        temporary,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=1000 / film.fps,
        loop=0,
        quality=80,
        method=4,
    )


def _enlarged(image: PIL.Image.Image, factor: int) -> PIL.Image.Image:
    from PIL.Image import Resampling

    return image.resize((image.width * factor, image.height * factor), Resampling.NEAREST)


def _limited(film: Film) -> Iterator[np.ndarray]:
    most = MOST_PIXELS // (film.height * film.width * film.factor**2)
    for number, picture in enumerate(film.pictures, 1):
        if number > most:
            raise _too_long(film.path, most)
        yield picture


WRITERS: dict[str, Callable[[Film, Path], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
}
