"""Faces stand where FFHQ's stand, and what was not found is said."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from stylegraft.data.align import FFHQ_EYES, cut, ffhq_square, read_points
from stylegraft.data.blazeface import Face, find_face, network
from stylegraft.data.images import contact_sheet, load_images
from stylegraft.errors import StylegraftError

DRAWINGS = Path(str(files("stylegraft.data"))) / "sets" / "pencil"
HEADER = "name,left_eye_x,left_eye_y,right_eye_x,right_eye_y\n"


def dots(size: tuple[int, int], eyes: np.ndarray, radius: float) -> Image.Image:
    """A picture that is white but for a red dot on the left eye and a blue one on the right."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for (x, y), colour in zip(eyes, ("red", "blue")):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def dot_centres(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image, float) / 255
    y, x = np.mgrid[: image.height, : image.width] + 0.5
    weights = [1 - pixels[..., 2], 1 - pixels[..., 0]]  # red lacks blue, blue lacks red
    for w, eye in zip(weights, FFHQ_EYES):  # only near the place: far off there may be its mirror image
        w[np.hypot(x / image.width - eye[0], y / image.width - eye[1]) > 0.12] = 0
    return np.array([[(w * x).sum() / w.sum(), (w * y).sum() / w.sum()] for w in weights]) / image.width


@settings(max_examples=25, deadline=None)
@given(
    angle=st.floats(-0.7, 0.7),
    distance=st.floats(30, 110),
    x=st.floats(0.3, 0.7),
    y=st.floats(0.3, 0.7),
    resolution=st.sampled_from([32, 64, 100]),
)
def test_eye_points_land_where_ffhq_has_them(
    angle: float, distance: float, x: float, y: float, resolution: int
) -> None:
    middle = np.array([640 * x, 560 * y])
    half = distance / 2 * np.array([np.cos(angle), np.sin(angle)])
    eyes = np.stack([middle - half, middle + half])
    framed = cut(dots((640, 560), eyes, distance / 8), *ffhq_square(eyes), resolution)
    assert framed.size == (resolution, resolution)
    assert np.abs(dot_centres(framed) - np.array(FFHQ_EYES)).max() < 0.75 / resolution


def test_the_square_is_ffhqs() -> None:
    eyes, mouth = np.array([[100.0, 100.0], [140.0, 100.0]]), np.array([120.0, 160.0])
    centre, half = ffhq_square(eyes, mouth)
    assert centre == pytest.approx([120, 106])  # a tenth of the way from the eyes to the mouth
    assert half == pytest.approx([1.8 * 60, 0])  # a long face: the mouth decides the size
    assert ffhq_square(eyes, np.array([120.0, 130.0]))[1] == pytest.approx([80, 0])  # a short one


def test_a_face_in_a_larger_picture_is_found_and_framed(tmp_path: Path) -> None:
    for k, path in enumerate(sorted(DRAWINGS.glob("*.png"))):
        page = Image.new("RGB", (400, 320), (248, 244, 236))
        page.paste(Image.open(path), (30 + 20 * k, 120 - 10 * k))
        page.save(tmp_path / path.name)
    loaded = load_images(tmp_path, 64, align="auto")
    assert loaded.missed == ()
    original = load_images(DRAWINGS, 64).images.float()
    difference = (loaded.images.float() - original).abs().mean((1, 2, 3))
    unaligned = (load_images(tmp_path, 64).images.float() - original).abs().mean((1, 2, 3))
    assert (difference < unaligned).all()
    for image in loaded.images:
        face = find_face(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((256, 256)))
        assert face is not None
        assert np.abs(face.eyes / 256 - np.array(FFHQ_EYES)).max() < 0.08


def test_well_framed_pictures_stay_untouched() -> None:
    aligned = load_images(DRAWINGS, 64, align="auto")
    assert set(aligned.framed) == {"framed already"}
    assert torch.equal(aligned.images, load_images(DRAWINGS, 64).images)


def test_a_picture_without_a_face_is_cropped_and_named(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "wall.png")
    Image.open(DRAWINGS / "008101.png").save(tmp_path / "face.png")
    loaded = load_images(tmp_path, 32, align="auto")
    assert loaded.missed == (1,)
    assert loaded.framed[1] == "no face: centre crop"
    assert any("no face" in note and "wall.png" in note for note in loaded.notes)
    contact_sheet(loaded, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).reshape(-1, 3)
    assert (sheet == (214, 40, 40)).all(1).sum() > 500  # the red frame
    contact_sheet(load_images(tmp_path / "face.png", 32, align="auto"), tmp_path / "sheet.png")
    assert not (np.asarray(Image.open(tmp_path / "sheet.png")).reshape(-1, 3) == (214, 40, 40)).all(1).any()


def test_the_detector_answers_as_the_published_one() -> None:
    """Golden numbers: the tflite interpreter on the picture x[c, i, j] = sin(0.05 i (c + 1)) cos(0.07 j)."""
    i = torch.arange(128.0)
    x = torch.stack([torch.sin(0.05 * i[:, None] * (c + 1)) * torch.cos(0.07 * i[None]) for c in range(3)])
    scores, boxes = network(x[None])
    golden = np.load(Path(__file__).parent.parent / "data" / "images" / "blazeface.npz")
    assert np.abs(scores[0].numpy() - golden["scores"]).max() < 1e-5
    assert np.abs(boxes[0, golden["rows"], :2].numpy() - golden["centres"]).max() < 1e-4


def test_a_set_is_its_pictures_and_its_rule_not_what_the_detector_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector's sums depend on threads and CPU; the same files with the same rule are the same set."""
    dots((300, 200), np.array([[80.0, 100.0], [120.0, 90.0]]), 6).save(tmp_path / "a.png")
    digests = []
    for shift in (0.0, 3.0):
        eyes, mouth = np.array([[80.0, 100.0], [120.0, 90.0]]) + shift, np.array([105.0, 140.0]) + shift
        face = Face(eyes, mouth, centre=mouth, side=80.0, score=1.0)
        monkeypatch.setattr("stylegraft.data.align.find_face", lambda picture, face=face: face)
        digests.append(load_images(tmp_path, 64, align="auto").digest)
    assert digests[0] == digests[1]
    for row, name in (("80,100,120,90", "p"), ("80,100,120,90", "q"), ("80,100,121,90", "p")):
        (tmp_path / f"{name}.csv").write_text(f"{HEADER}a.png,{row}\n")
        digests.append(load_images(tmp_path / "a.png", 64, align=tmp_path / f"{name}.csv").digest)
    assert digests[2] == digests[3]  # the same points under another name
    digests.append(load_images(tmp_path / "a.png", 64).digest)
    assert len(set(digests)) == 4  # found, two sets of points, cropped


def test_points_are_used_and_missing_ones_named(tmp_path: Path) -> None:
    eyes = np.array([[80.0, 100.0], [120.0, 90.0]])
    dots((300, 200), eyes, 6).save(tmp_path / "a.png")
    dots((300, 200), eyes, 6).save(tmp_path / "b.png")
    (tmp_path / "points.csv").write_text(HEADER + "a.png,120,90,80,100\n\n")  # left and right may be swapped
    loaded = load_images(tmp_path, 64, align=tmp_path / "points.csv")
    assert loaded.framed == ("eye points", "no points: centre crop")
    assert loaded.missed == (1,)
    framed = Image.fromarray(loaded.images[0].permute(1, 2, 0).numpy())
    assert np.abs(dot_centres(framed) - np.array(FFHQ_EYES)).max() < 0.02


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty file"),
        ("file,x,y\n", "expected the header"),
        (HEADER, "holds no points"),
        (HEADER + "a.png,1,2,3\n", "line 2"),
        (HEADER + "a.png,1,2,3,4,5\n", "line 2"),
        (HEADER + "a.png,1,2,three,4\n", "line 2"),
        (HEADER + "a.png,1,2,1,2\n", "same place"),
        (HEADER + "a.png,1,2,nan,2\n", "line 2"),
        (HEADER + "a.png,1,2,9,2\na.png,1,2,9,2\n", "listed twice"),
    ],
)
def test_bad_point_files_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(StylegraftError, match=said):
        read_points(path)


@pytest.mark.parametrize("line", ["100,120,160,1200", "-99999,30,40,30", "1e9,30,40,30", "20,30,65,30"])
def test_an_eye_outside_its_picture_is_refused_with_its_size(tmp_path: Path, line: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "anna.png")
    (tmp_path / "p.csv").write_text(HEADER + f"anna.png,{line}\n")
    with pytest.raises(
        StylegraftError, match=r"anna\.png: the eye .* outside the picture, which is 64x64 px"
    ):
        load_images(tmp_path, 32, align=tmp_path / "p.csv")


def test_points_for_a_picture_that_is_not_there_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "anna.png")
    (tmp_path / "p.csv").write_text(HEADER + "ana.png,20,30,40,30\n")
    with pytest.raises(StylegraftError, match=r"ana\.png is not among the pictures.*anna\.png"):
        load_images(tmp_path, 32, align=tmp_path / "p.csv")
    with pytest.raises(StylegraftError, match="expected auto, off or a CSV"):
        load_images(tmp_path, 32, align="on")
