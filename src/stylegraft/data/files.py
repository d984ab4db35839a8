"""Reading pictures from folders, zips and files: a bad one is an error that names it, never skipped."""

from __future__ import annotations

import io
import math
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from stylegraft.errors import StylegraftError, nearest_file

EXTENSIONS = frozenset(
    ".png .jpg .jpeg .jfif .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2".split()
)
UNREADABLE = frozenset(".heic .heif .cr2 .nef .arw .dng".split())  # photographs that Pillow alone cannot read
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
MIN_SIDE = 16  # px: less than this is an icon or an accident
MAX_PIXELS = 100_000_000  # of one picture, checked in its header before anything is decoded
STRIP = 256  # rows that are changed at a time
MAX_FILE = 256 << 20  # bytes of one file
MAX_ENTRIES = 20_000  # in a zip
MAX_UNPACKED = 2 << 30  # bytes of all pictures of a zip
RUN = ("config.json", "stats.jsonl")  # what a run holds beside pictures of its own: grids, which nobody means

Paths = str | Path | Sequence[str | Path]


@dataclass
class Picture:
    """An upright picture in mode RGB or L, with what there is to say about how it was read."""

    name: str
    image: Image.Image
    notes: list[str] = field(default_factory=list)


def read_pictures(path: Paths, channels: int, notes: list[str], coarse: bool = False) -> Iterator[Picture]:
    """The pictures of a folder, a zip, a file or a list of files, in the order of their names, one at a time.

    A folder's own files count, not its subfolders; of a zip, those of its top level or of its only folder.
    Hidden files and `__MACOSX` are passed over; other files that are not pictures are named in `notes`.
    channels: 3 gives RGB, 1 gives grey. coarse: JPEGs may come at an eighth of their size, which finds a broken one
    four times as fast. Raises StylegraftError naming the first file that cannot be used.
    """
    if not isinstance(path, (str, Path)):
        for item in path:
            file = _existing(Path(item))
            yield decode(_read_file(file), file.name, str(file), channels, coarse)
        return
    path = _existing(Path(path))
    if path.is_dir():
        yield from _read_folder(path, channels, notes, coarse)
    elif path.suffix.lower() == ".zip" or (path.is_file() and zipfile.is_zipfile(path)):
        yield from _read_zip(path, channels, notes, coarse)
    elif path.is_file():
        yield decode(_read_file(path), path.name, str(path), channels, coarse)
    else:
        raise StylegraftError(f"{path}: neither a file nor a folder; expected a picture, a folder or a zip")


def decode(data: bytes, name: str, where: str, channels: int, coarse: bool = False) -> Picture:
    """Decode one picture: upright by EXIF, transparency on white, 16 bits scaled to 8, RGB or grey.

    Raises StylegraftError naming `where` for anything that is broken, tiny, huge or not a picture.
    """
    if not data:
        raise StylegraftError(f"{where}: is empty (0 bytes); expected a picture. Replace or remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.init()
            image = Image.open(io.BytesIO(data), formats=[f for f in FORMATS if f in Image.OPEN])
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if min(image.size) < MIN_SIDE:
                raise StylegraftError(
                    f"{where}: {image.width}x{image.height} px; expected at least {MIN_SIDE} px on each side."
                    " Replace or remove it"
                )
            picture = Picture(name, image)
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                picture.notes.append(f"{name}: has {getattr(image, 'n_frames', 1)} frames; the first is used")
            if coarse:
                image.draft(None, (image.width // 8, image.height // 8))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            image, wanted = _flatten(image, picture), "RGB" if channels == 3 else "L"
            picture.image = image if image.mode == wanted else image.convert(wanted)
            return picture
    except StylegraftError:
        raise
    except Image.DecompressionBombError:
        limit = f"more than {MAX_PIXELS // 10**6} megapixels"
        raise StylegraftError(f"{where}: its header says {limit}; reduce it first") from None
    except MemoryError:
        raise StylegraftError(f"{where}: not enough memory to decode it; reduce it first") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ...
        unknown = isinstance(error, Image.UnidentifiedImageError)
        reason = "no picture format that can be read" if unknown else error
        raise StylegraftError(f"{where}: broken or not a picture ({reason}). Replace or remove it") from None


def _flatten(image: Image.Image, picture: Picture) -> Image.Image:
    """Any mode to one that converts to RGB or L without losing its scale, transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _to_eight_bits(image, picture)
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        return _by_strips(image, "RGB", _on_white)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode == "L" else image.convert("RGB")


def _by_strips(image: Image.Image, mode: str, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """A picture changed some rows at a time: 100 megapixels and three copies of them are no small matter."""
    found = Image.new(mode, image.size)
    for top in range(0, image.height, STRIP):
        rows = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        found.paste(change(rows), (0, top))
    return found


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _to_eight_bits(image: Image.Image, picture: Picture) -> Image.Image:
    pixels = np.asarray(image)
    low, high = float(pixels.min()), float(pixels.max())  # NaN where one is among them
    top = 65535.0 if image.mode.startswith("I") else 1.0
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > top:
        found = f"{np.nanmin(pixels):g}..{np.nanmax(pixels):g}"
        raise StylegraftError(f"{picture.name}: mode {image.mode} with values {found}; expected 0..{top:g}")

    def scaled(rows: Image.Image) -> Image.Image:
        values = np.asarray(rows).astype(np.float64)
        if isinstance(image.info.get("transparency"), int):
            values[values == image.info["transparency"]] = top
        return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))

    return _by_strips(image, "L", scaled)


def _read_folder(folder: Path, channels: int, notes: list[str], coarse: bool) -> Iterator[Picture]:
    try:
        entries = sorted(p for p in folder.iterdir() if not _hidden(p.name))
    except OSError as error:
        raise StylegraftError(f"{folder}: cannot be listed ({error.strerror})") from None
    if all((folder / name).is_file() for name in RUN):
        raise StylegraftError(
            f"{folder}: a run, whose pictures are grids; expected a folder of single pictures"
        )
    inner = [p.name for p in entries if p.is_dir()]
    files = {p.name: p for p in entries if not p.is_dir()}
    for name in _choose(str(folder), list(files), inner, notes):
        yield decode(_read_file(files[name]), name, str(files[name]), channels, coarse)


def _read_zip(path: Path, channels: int, notes: list[str], coarse: bool) -> Iterator[Picture]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = _zip_entries(path, archive)
            folders = sorted({n.partition("/")[0] for n in infos if "/" in n})
            prefix = f"{folders[0]}/" if len(folders) == 1 and all("/" in n for n in infos) else ""
            inside = {n[len(prefix) :]: info for n, info in infos.items()}
            here = [n for n in sorted(inside) if "/" not in n]
            inner = sorted({n.partition("/")[0] for n in inside if "/" in n})
            left = MAX_UNPACKED
            for name in _choose(f"{path}/{prefix}".rstrip("/"), here, inner, notes):
                with archive.open(inside[name]) as file:
                    data = file.read(min(MAX_FILE, left) + 1)  # whatever the header says
                if len(data) > min(MAX_FILE, left):
                    raise StylegraftError(f"{path}: {name} unpacks to more than allowed ({_limits()})")
                left -= len(data)
                yield decode(data, name, f"{path}: {name}", channels, coarse)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise StylegraftError(f"{path}: not a readable zip ({error})") from None
    except RuntimeError as error:  # what zipfile raises for a password
        raise StylegraftError(f"{path}: cannot be unpacked ({error}); remove the password") from None
    except zipfile.zlib.error as error:  # type: ignore[attr-defined]
        raise StylegraftError(f"{path}: damaged ({error})") from None


def _zip_entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise StylegraftError(f"{path}: {len(infos)} entries; at most {MAX_ENTRIES} are read. Unpack it")
    if sum(i.file_size for i in infos if _is_picture(i.filename)) > MAX_UNPACKED:
        raise StylegraftError(f"{path}: its pictures unpack to more than allowed ({_limits()})")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.replace("\\", "/")
        if not name:
            raise StylegraftError(f"{path}: an entry has no name; not opened")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or (parts and ":" in parts[0]):
            raise StylegraftError(f"{path}: entry {info.filename!r} points outside the zip; not opened")
        if info.is_dir() or any(_hidden(p) for p in parts) or stat.S_ISLNK(info.external_attr >> 16):
            continue
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise StylegraftError(
                f"{path}: {name} is compressed in a rare way; expected a usual zip: zip it again"
            )
        if name in found:
            raise StylegraftError(f"{path}: entry {name!r} is there twice")
        found[name] = info
    return found


def _choose(where: str, names: list[str], inner: list[str], notes: list[str]) -> list[str]:
    """Those of `names` that are pictures; says what is left out, and refuses a place without any."""
    for name in names:
        if PurePosixPath(name).suffix.lower() in UNREADABLE:
            raise StylegraftError(f"{where}/{name}: this format cannot be read; save it as PNG or JPEG")
    chosen = [n for n in names if _is_picture(n)]
    others = [n for n in names if not _is_picture(n)]
    if not chosen:
        held = f"{len(others)} other files ({few(others)})" if others else "no file"
        hint = f"; it has subfolders ({few(inner)}): name one of them" if inner else ""
        raise StylegraftError(f"{where}: no picture in it, {held}{hint}. Expected PNG, JPEG, WebP, TIFF, ...")
    if others:
        notes.append(f"{len(others)} file{'s' * (len(others) > 1)} not a picture, not read: {few(others)}")
    if inner:
        notes.append(f"{len(inner)} subfolder{'s' * (len(inner) > 1)} not read: {few(inner)}")
    return chosen


def _existing(path: Path) -> Path:
    try:
        if path.exists():
            return path
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else None
    except (OSError, ValueError) as error:
        raise StylegraftError(f"{path}: cannot be read ({error})") from None
    if siblings is None:
        raise StylegraftError(f"{path}: no such file or folder, and {path.parent} does not exist either")
    raise StylegraftError(f"{path}: no such file or folder{nearest_file(path.name, siblings)}")


def _read_file(path: Path) -> bytes:
    if not path.is_file():
        raise StylegraftError(f"{path}: not a regular file; expected a picture")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise StylegraftError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_FILE:
        raise StylegraftError(f"{path}: larger than {MAX_FILE >> 20} MB; reduce it first")
    return data


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in EXTENSIONS


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def few(names: Sequence[str], most: int = 10) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _limits() -> str:
    return f"{MAX_FILE >> 20} MB a file, {MAX_UNPACKED >> 30} GB in all"
