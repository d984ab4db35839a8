"""The packaged target sets, the filter that drew one of them, and grids."""

from __future__ import annotations

import errno
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegraft.data.grids import paired_grid, save_grid
from stylegraft.data.pixels import to_float, to_uint8
from stylegraft.data.procedural import pencil
from stylegraft.data.targets import TARGETS, load_target, open_target
from stylegraft.errors import StylegraftError


@pytest.mark.parametrize("name", TARGETS)
def test_a_packaged_set_is_what_its_table_says(name: str) -> None:
    target = TARGETS[name]
    loaded = load_target(name, target.size)
    assert loaded.images.shape == (target.count, 3, target.size, target.size)
    assert len(loaded.notes) == 1  # the rule: no twins, nothing enlarged
    assert load_target(name, 64, channels=1).images.shape == (target.count, 1, 64, 64)
    assert open_target(name, 64).digest == load_target(name, 64).digest


def test_an_unknown_set_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(StylegraftError, match="did you mean 'pencil'"):
        load_target("pencils", 64)
    with pytest.raises(StylegraftError, match="did you mean 'lorelei'"):
        open_target("lorelai", 64)
    with pytest.raises(StylegraftError, match="no such file or folder"):
        open_target(str(tmp_path / "pencil"), 64)


def test_a_packaged_set_is_framed_already_and_takes_no_eye_points() -> None:
    for align in ("auto", "off"):
        assert open_target("pencil", 16, align=align).digest == load_target("pencil", 16).digest
    with pytest.raises(StylegraftError, match=r"--align eyes\.csv: 'pencil' is a packaged set"):
        open_target("pencil", 16, align="eyes.csv")


def test_the_table_of_packaged_sets_is_what_is_in_the_package() -> None:
    folders = (files("stylegraft.data") / "sets").iterdir()
    assert {folder.name for folder in folders if folder.is_dir()} == set(TARGETS)


def test_levels_survive_the_way_to_floats_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert (to_float(levels).min(), to_float(levels).max()) == (-1, 1)


def test_pencil_draws_on_paper_in_grey_and_repeats_itself() -> None:
    photo = load_target("lorelei", 64).images[:2]
    drawn = pencil(photo, seed=3)
    assert drawn.shape == photo.shape
    assert drawn.dtype == torch.uint8
    assert torch.equal(drawn, pencil(photo, seed=3))
    assert not torch.equal(drawn, pencil(photo, seed=4))
    assert (drawn.float().amax(1) - drawn.float().amin(1)).max() < 30  # next to no colour
    assert drawn[:, :, :4, :4].float().mean() > 225  # the corners stay paper
    assert pencil(photo[:0]).shape == (0, 3, 64, 64)
    assert pencil(photo[:, :1]).shape == photo.shape


def test_grid_tiles_keep_every_pixel(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    save_grid(images, tmp_path / "g.png", 3)
    sheet = np.asarray(Image.open(tmp_path / "g.png"))
    assert sheet.shape == (2 * 128 + 2, 3 * 128 + 4, 3)
    assert np.array_equal(sheet[130::2, 130:258:2], images[4].permute(1, 2, 0).numpy())
    assert (sheet[130:, 260:] == 255).all()


def test_floats_are_clipped_and_rounded(tmp_path: Path) -> None:
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 9.0, float("nan")]).reshape(1, 1, 1, 6)
    save_grid(values.expand(-1, -1, 6, -1), tmp_path / "g.png", scale=1)
    assert np.asarray(Image.open(tmp_path / "g.png"))[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_pairs_stand_one_above_the_other(tmp_path: Path) -> None:
    above = torch.full((3, 3, 16, 16), -1.0)
    below = torch.full((3, 3, 16, 16), 1.0)
    paired_grid(above, below, tmp_path / "p.png", columns=2, labels=None, scale=1)
    sheet = np.asarray(Image.open(tmp_path / "p.png"))
    assert sheet.shape == (4 * 18 - 2, 2 * 18 - 2, 3)
    assert [int(sheet[18 * row + 8, 8, 0]) for row in range(4)] == [0, 255, 0, 255]
    assert sheet[36 + 8, 18 + 8, 0] == 255  # the place of a fourth pair stays paper
    paired_grid(above, below, tmp_path / "p.png")
    with pytest.raises(StylegraftError, match="same shape"):
        paired_grid(above, below[:2], tmp_path / "p.png")


def test_a_grid_on_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(1, 3, 16, 16)
    save_grid(images, tmp_path / "g.png")
    before = (tmp_path / "g.png").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StylegraftError, match=r"g\.png.*disk is full"):
        save_grid(images + 1, tmp_path / "g.png")
    assert (tmp_path / "g.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["g.png"]
