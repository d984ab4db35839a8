"""What a user's own pictures may look like, and what is said about those that cannot be used."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stylegraft.data import files as data_files
from stylegraft.data.images import load_images
from stylegraft.errors import StylegraftError


def gradient(width: int = 40, height: int = 32) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 3 % 256], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def png16(values: np.ndarray, colour: int) -> bytes:
    """A 16-bit PNG of values [H, W] (colour 0) or [H, W, 3] (colour 2), which Pillow itself cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def refused(path: object, *, align: object = "off") -> str:
    start = time.monotonic()
    with pytest.raises(StylegraftError) as caught:
        load_images(path, 16, align=align)  # type: ignore[arg-type]
    assert time.monotonic() - start < 2
    message = str(caught.value)
    assert "\n" not in message
    return message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16", "YCbCr"]),
    width=st.integers(16, 80),
    height=st.integers(16, 80),
    channels=st.sampled_from([1, 3]),
    resolution=st.sampled_from([8, 16, 32, 33]),
)
def test_any_size_and_mode_becomes_a_square(
    tmp_path: Path, mode: str, width: int, height: int, channels: int, resolution: int
) -> None:
    image = gradient(width, height)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path)
    loaded = load_images(path, resolution, channels)
    assert loaded.images.shape == (1, channels, resolution, resolution)
    assert loaded.images.dtype == torch.uint8
    if mode != "1":
        expected = load_images([_saved(gradient(width, height), tmp_path / "b.png")], resolution, channels)
        near = (
            loaded.images.float()
            - (expected.images if mode not in ("L", "LA", "I;16") else _grey(expected.images)).float()
        )
        assert near.abs().mean() < (30 if mode == "P" else 6)


def _saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def _grey(images: torch.Tensor) -> torch.Tensor:
    if images.shape[1] == 1:
        return images
    weights = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    return (images.float() * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 16).astype(np.uint16)[None].repeat(16, 0)
    expected = np.rint(ramp / 257.0)
    (tmp_path / "grey.png").write_bytes(png16(ramp, 0))
    (tmp_path / "rgb.png").write_bytes(png16(np.stack([ramp] * 3, -1), 2))
    images = load_images(tmp_path, 16).images.numpy()
    assert np.abs(images[0] - expected).max() == 0
    assert np.abs(images[1] - expected).max() <= 1


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([10, 20, 30] * 256)
    for name, image in {"a": clear, "b": half, "c": Image.new("LA", (16, 16), (0, 0))}.items():
        image.save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_bytes(png(palette, transparency=0))
    images = load_images(tmp_path, 16).images
    assert [int(i.float().mean().round()) for i in images] == [255, 127, 255, 255]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    upright = gradient(24, 24)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: to be shown a quarter turn clockwise
    upright.save(tmp_path / "a.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.png", exif=exif)
    images = load_images(tmp_path, 24).images
    assert torch.equal(images[0], images[1])


def test_the_centre_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    image.save(tmp_path / "wide.png")
    images = load_images(tmp_path, 10).images
    assert torch.equal(images[0, :, 5, 5], torch.tensor([0, 0, 255], dtype=torch.uint8))
    assert (images[0, 2] > 250).all()


def test_exact_reductions_are_box_averages(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    box = pixels.reshape(8, 4, 8, 4, 3).astype(float).mean((1, 3))
    assert np.abs(load_images(tmp_path, 8).images[0].permute(1, 2, 0).numpy() - box).max() <= 0.51


def test_the_order_is_that_of_the_names_and_the_digest_that_of_the_pixels(tmp_path: Path) -> None:
    for name, colour in (("b", "red"), ("a", "blue"), ("c", "lime")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{name}.png")
    loaded = load_images(tmp_path, 16)
    assert loaded.names == ("a.png", "b.png", "c.png")
    assert loaded.digest == load_images(sorted(tmp_path.glob("*.png")), 16).digest
    assert loaded.digest != load_images([tmp_path / "b.png", tmp_path / "a.png"], 16).digest


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    gradient().save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "more").mkdir()
    loaded = load_images(tmp_path, 64)
    text = "\n".join(loaded.notes)
    assert loaded.names == ("a.png",)
    assert "notes.txt" in text
    assert "more" in text
    assert "enlarged: a.png" in text
    assert "hidden" not in text
    assert "MACOSX" not in text


def test_duplicates_and_animations_are_noted(tmp_path: Path) -> None:
    gradient().save(tmp_path / "a.png")
    gradient().save(tmp_path / "b.bmp")
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    first.save(tmp_path / "c.gif", save_all=True, append_images=[second])
    text = "\n".join(load_images(tmp_path, 16).notes)
    assert "the same picture: a.png, b.bmp" in text
    assert "c.gif: has 2 frames; the first is used" in text


BROKEN = {
    "empty.png": b"",
    "text.png": b"this is no picture at all",
    "truncated.png": png(gradient(200, 200))[:-400],
    "header.png": png(gradient())[:20],
    "flipped.png": png(gradient())[:60] + b"\xff" * 40 + png(gradient())[100:],
    "one.png": png(Image.new("RGB", (1, 1))),
    "thin.png": png(Image.new("RGB", (300, 15))),
    "phone.heic": b"\0\0\0\x18ftypheic",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_picture_is_named(tmp_path: Path, name: str) -> None:
    gradient().save(tmp_path / "good.png")
    (tmp_path / name).write_bytes(BROKEN[name])
    assert name in refused(tmp_path)
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("good.png", png(gradient()))
        archive.writestr(name, BROKEN[name])
    assert name in refused(packed)


def test_a_coarse_look_finds_the_same_bad_pictures_at_an_eighth_of_the_size(tmp_path: Path) -> None:
    gradient(800, 800).save(tmp_path / "a.jpg")
    (picture,) = data_files.read_pictures(tmp_path, 3, [], coarse=True)
    assert picture.image.size == (100, 100)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-300])
    with pytest.raises(StylegraftError, match=r"b\.jpg"):
        list(data_files.read_pictures(tmp_path, 3, [], coarse=True))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_picture_never_escapes_as_another_exception(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    gradient().save(buffer, data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])))
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(1, len(damaged)))]
    try:
        picture = data_files.decode(bytes(damaged), "x.png", "x.png", 3)
        assert picture.image.mode == "RGB"
    except StylegraftError as error:
        assert "x.png" in str(error)


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    header = bytearray(png(gradient()))
    header[16:24] = struct.pack(">II", 60_000, 60_000)
    header[29:33] = struct.pack(">I", zlib.crc32(bytes(header[12:29])))
    (tmp_path / "bomb.png").write_bytes(bytes(header))
    message = refused(tmp_path)
    assert "bomb.png" in message
    assert "more than 100 megapixels" in message


def test_places_without_pictures_say_what_they_hold(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no picture in it" in refused(empty)
    (empty / "readme.md").write_text("x")
    (empty / "sketches").mkdir()
    message = refused(empty)
    assert "readme.md" in message
    assert "sketches" in message
    assert "no picture was given" in refused([])


def test_a_missing_path_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "my_sketches").mkdir()
    assert "did you mean 'my_sketches'" in refused(tmp_path / "my_skeches")
    assert "does not exist either" in refused(tmp_path / "nowhere" / "at_all")
    assert "neither a file nor a folder" in refused("/dev/null")


def test_a_zip_reads_like_the_folder_it_packs(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for k in range(3):
        gradient(20 + k, 20).save(folder / f"{k}.png")
    for prefix in ("", "set/"):
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in folder.iterdir():
                archive.write(path, prefix + path.name)
            archive.writestr("__MACOSX/._0.png", b"x")
            archive.writestr(prefix + "readme.txt", b"x")
        loaded = load_images(tmp_path / "set.zip", 16)
        assert loaded.digest == load_images(folder, 16).digest
        assert loaded.names == ("0.png", "1.png", "2.png")
        assert "readme.txt" in "\n".join(loaded.notes)


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/../../a.png", "C:\\a.png", "..\\a.png"])
def test_a_zip_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "set.zip"
    info = zipfile.ZipInfo("placeholder")
    info.filename = name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, png(gradient()))
    assert "points outside the zip" in refused(path)


def test_zip_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 3_000_000)
        archive.writestr("b.png", png(gradient()))
    monkeypatch.setattr(data_files, "MAX_FILE", 1_000_000)
    assert "unpacks to more than allowed" in refused(path)
    monkeypatch.setattr(data_files, "MAX_UNPACKED", 2_000_000)
    assert "unpack to more than allowed" in refused(path)
    monkeypatch.setattr(data_files, "MAX_ENTRIES", 1)
    assert "at most 1 are read" in refused(path)


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 3_000_000)
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = raw.index(signature) + offset
        raw[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(bytes(raw))
    monkeypatch.setattr(data_files, "MAX_FILE", 1_000_000)
    assert "a.png" in refused(path) or "set.zip" in refused(path)


@pytest.mark.parametrize("damage", [b"", b"PK", b"not a zip at all" * 10])
def test_a_broken_zip_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(damage)
    assert "set.zip" in refused(path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_zip_never_escapes_as_another_exception(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", png(gradient()))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw))
    try:
        load_images(path, 16)
    except StylegraftError as error:
        assert "set.zip" in str(error)
