"""The targets of a study: filters, pools and references that share nothing, made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylegraft.data import painterly
from stylegraft.data.filters import FILTERS, apply
from stylegraft.data.images import load_images
from stylegraft.errors import StylegraftError
from stylegraft.lab import targets
from stylegraft.lab.study import StudyTarget
from stylegraft.lab.targets import opened, pool_size, prepare, refusal

from .eyes import smooth, source


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch):
    """The toy source, also by its name."""
    monkeypatch.setattr(targets, "load_source", lambda name: source())
    return source()


MADE = StudyTarget("made-bulge", "made:bulge", pool=6, count=50, of="toy")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


# Filters
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*FILTERS} - {"pencil"}))  # whose tests are with the packaged sets
def test_a_picture_depends_on_itself_and_its_seed_alone(name: str):
    images = smooth(3)
    together = apply(name, images, seed=4)
    assert together.shape == images.shape
    assert together.dtype == torch.uint8
    assert torch.equal(apply(name, images, seed=4), together)
    assert torch.equal(apply(name, images[1:2], seed=4), together[1:2])
    assert not torch.equal(together, images)
    grey = apply(name, images[:, :1], seed=4)
    assert grey.shape == images.shape


def test_kuwahara_keeps_an_edge_and_flattens_what_lies_beside_it():
    rng = torch.Generator().manual_seed(0)
    x = torch.zeros(1, 3, 32, 32)
    x[..., 16:] = 1.0
    noisy = x + 0.1 * torch.randn(1, 1, 32, 32, generator=rng)
    smoothed = painterly.kuwahara(noisy, 4)
    assert float((smoothed - x).abs().mean()) < 0.4 * float((noisy - x).abs().mean())
    assert torch.equal(painterly.kuwahara(x, 4), x), "a clean edge stays where it is"


def test_a_print_gives_each_ink_a_fifth_of_the_picture():
    ramp = torch.arange(256, dtype=torch.uint8).expand(1, 3, 256, 256).contiguous()
    printed = apply("palette", ramp)[0].permute(1, 2, 0).reshape(-1, 3)
    inks, counts = printed.unique(dim=0, return_counts=True)
    assert {tuple(ink) for ink in inks.tolist()} == set(painterly.INKS)
    assert bool(((counts / counts.sum() - 0.2).abs() < 0.02).all())


def test_a_mirror_enlarges_the_middle_and_keeps_the_rim():
    dot = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    dot[..., 28:36, 28:36] = 255
    assert float(apply("bulge", dot).float().sum()) > 3 * float(dot.float().sum())
    images = smooth(1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(apply("bulge", images)[..., 0, 0], images[..., 0, 0])


def test_an_unknown_filter_is_named_with_the_nearest():
    with pytest.raises(StylegraftError, match="did you mean 'pencil'"):
        apply("pencl", smooth(1))


# Pools and references
# --------------------------------------------------------------------------------------------


def test_a_made_target_is_disjoint_and_the_same_whenever_it_is_made(toy, tmp_path: Path):
    made = prepare(MADE, toy, tmp_path / "a")
    assert (made.pool, made.reference) == (6, 50)
    pictures = contents(made.folder)
    assert len(pictures) == 56 == len(set(pictures.values()))
    assert contents(prepare(MADE, toy, tmp_path / "b").folder) == pictures
    reference = made.references()
    assert reference is not None and reference.shape == (50, 3, 16, 16)
    assert "made of 56 images of toy" in made.notes[0]


def test_an_interrupted_making_goes_on(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = prepare(MADE, toy, tmp_path / "a")
    kept, saved = targets._save, []

    def tired(picture, path, channels):
        if len(saved) == 45:
            raise KeyboardInterrupt
        saved.append(path.name)
        kept(picture, path, channels)

    monkeypatch.setattr(targets, "_save", tired)
    with pytest.raises(KeyboardInterrupt):
        prepare(MADE, toy, tmp_path / "b")
    (half,) = (tmp_path / "b").iterdir()
    assert not (half / targets.MADE).exists()
    monkeypatch.setattr(targets, "_save", lambda *of: (saved.append(of[1].name), kept(*of)))
    again = prepare(MADE, toy, tmp_path / "b")
    assert len(saved) == 56, "no picture is made twice"
    assert contents(again.folder) == contents(whole.folder)
    monkeypatch.setattr(targets, "_make", None)
    assert prepare(MADE, toy, tmp_path / "b") == again, "what is there is opened"


def test_other_pictures_are_another_folder(toy, toy_images: Path, tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in sorted(toy_images.iterdir())[:4]:
        (mine / path.name).write_bytes(path.read_bytes())
    target = StudyTarget("mine", str(mine), align="off")
    first = prepare(target, toy, tmp_path / "out")
    assert prepare(target, toy, tmp_path / "out").folder == first.folder
    (mine / "more.png").write_bytes(sorted(toy_images.iterdir())[5].read_bytes())
    second = prepare(target, toy, tmp_path / "out")
    assert (first.pool, second.pool) == (4, 5)
    assert first.folder != second.folder
    assert json.loads((second.folder / targets.MADE).read_text())["pool"] == 5


def test_a_folder_as_the_network_sees_it_is_what_adapt_would_train_on(toy, toy_images: Path, tmp_path: Path):
    made = prepare(StudyTarget("mine", str(toy_images), align="off"), toy, tmp_path)
    assert made.references() is None
    assert torch.equal(made.shots(0, 0).images, load_images(toy_images, 16).images)


def test_no_image_of_the_pool_is_in_the_reference(toy, toy_images: Path, tmp_path: Path):
    target = StudyTarget("mine", str(toy_images), pool=4, align="off")
    made = prepare(target, toy, tmp_path)
    assert (made.pool, made.reference) == (4, 6)
    pool, rest = contents(made.folder / "pool"), contents(made.folder / "reference")
    assert not set(pool.values()) & set(rest.values())
    more = tmp_path / "more"
    more.mkdir()
    for path in toy_images.iterdir():
        (more / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", (20, 20), "red").save(more / "red.png")
    Image.new("RGB", (20, 20), "blue").save(more / "blue.png")
    with_reference = prepare(StudyTarget("own", str(toy_images), str(more), align="off"), toy, tmp_path)
    assert with_reference.reference == 2
    assert "10 images of the reference are also in the pool" in with_reference.notes[-1]


def test_a_pool_without_a_rest_is_refused(toy, toy_images: Path, tmp_path: Path):
    with pytest.raises(StylegraftError, match="pool = 10 of 10 images leaves none to measure by"):
        prepare(StudyTarget("mine", str(toy_images), pool=10, align="off"), toy, tmp_path)
    with pytest.raises(StylegraftError, match="has 0 images beside those of the pool"):
        prepare(StudyTarget("mine", str(toy_images), str(toy_images), align="off"), toy, tmp_path)


def test_draws_are_seeded_and_a_smaller_one_is_part_of_the_larger(toy, tmp_path: Path):
    made = opened(prepare(MADE, toy, tmp_path).folder)
    names = {k: {d: made.shots(k, d).names for d in range(4)} for k in (2, 4)}
    assert names[2] == {d: made.shots(2, d).names for d in range(4)}
    assert all(set(names[2][d]) < set(names[4][d]) for d in range(4))
    assert len(set(names[2].values())) > 1
    assert made.shots(2, 0).digest != made.shots(4, 0).digest


def test_what_makes_no_sense_of_a_pool():
    assert refusal(10, 0, 10) is None and refusal(0, 0, 10) is None and refusal(5, 3, 10) is None
    assert refusal(11, 0, 10) == "11 shots of a pool of 10 images"
    assert refusal(10, 1, 10) == "draw 1 of all 10 images is draw 0 again"
    assert refusal(0, 1, 10) == "draw 1 of all 10 images is draw 0 again"


def test_the_size_of_a_pool_is_known_before_it_is_made(toy_images: Path):
    assert pool_size(MADE) == 6
    assert pool_size(StudyTarget("pencil", "pencil")) == 10
    assert pool_size(StudyTarget("mine", str(toy_images), pool=4)) == 4
