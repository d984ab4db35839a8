"""`stylegraft edit` and `stylegraft directions`: what is typed is what is drawn, and refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from stylegraft.applications.directions import Direction, channel, ganspace, sefa
from stylegraft.applications.latents import Latents, of_seeds
from stylegraft.checkpoints import Source, describe_base, load
from stylegraft.cli.edits import parse_channel, parse_direction, parse_sweep
from stylegraft.cli.main import main
from stylegraft.domains import Domain, start
from stylegraft.errors import StylegraftError

from ..toys import toy


@pytest.fixture(scope="module")
def generator(toy_file: Path):
    return load(toy_file).generator


@pytest.fixture(scope="module")
def domains(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random domains of the toy, as files, by their spaces."""
    source = load(toy_file)
    folder = tmp_path_factory.mktemp("domains")
    found = {}
    for space in ("stylespace", "full", "mapping", "synthesis"):
        rng = torch.Generator().manual_seed(0)
        deltas = start(space, source.generator, rng)
        for terms in deltas.values():
            for term in terms:
                for part in term.parts.values():
                    part.normal_(std=0.3, generator=rng)
        base = describe_base(Source("toy", source.generator, None, source.info))
        found[space] = folder / f"{space}.safetensors"
        Domain(deltas, {"space": space}, base).save(found[space])
    return found


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a line in an empty folder; returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*parts: object) -> tuple[int, str, str]:
        status = main([str(part) for part in parts])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def pixels(path: str | Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# What is typed


def test_a_direction_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one = parse_direction("ganspace:3@0-3=-1.5")
    assert (one.what, one.index, one.amount) == ("ganspace", 3, -1.5)
    assert one.rows is not None
    assert (one.rows.first, one.rows.last, one.rows.pixels) == (0, 3, False)
    some = parse_direction("sefa@4-16px")
    assert (some.what, some.index, some.amount) == ("sefa", None, 1.0)
    assert some.rows is not None
    assert some.rows.pixels


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ganspace:x=2", "'x' is not a number of a direction"),
        ("ganspce:3=2", "did you mean 'ganspace'"),
        ("smile.safetensors=2", "smile.safetensors: no such file; expected sefa:K"),
        ("ganspace:3=two", "'two' is not a number"),
        ("ganspace:3=nan", "not a finite number"),
        ("ganspace:3@3-0", "'3-0' are no rows"),
        ("ganspace:3@eyes", "'eyes' are no rows"),
    ],
)
def test_a_direction_that_is_none(text: str, said: str):
    with pytest.raises(StylegraftError, match=said):
        parse_direction(text)


def test_a_channel_and_a_sweep_as_typed():
    found = parse_channel("b8.conv1:12:-5std")
    assert (found.layer, found.index, found.amount, found.std) == ("b8.conv1", 12, -5.0, True)
    assert not parse_channel("b8.conv1:12:+5").std
    assert parse_sweep("-3..3", 7) == [-3, -2, -1, 0, 1, 2, 3]
    assert parse_sweep("0..1", 3) == [0, 0.5, 1]
    for text in ("b8.conv1:12", "b8.conv1:x:3", "b8.conv1:12:far", "b8.conv1:12:inf"):
        with pytest.raises(StylegraftError, match=f"--channel {text}"):
            parse_channel(text)
    with pytest.raises(StylegraftError, match="expected FROM..TO"):
        parse_sweep("3", 7)


# Edit


def test_a_sweep_is_a_row_a_face_and_a_column_a_factor(line, toy_file: Path):
    status, out, err = line(
        "edit", toy_file, "--direction", "ganspace:0", "--sweep", "-2..2", "--columns", 5, "--seeds", "0-2"
    )
    assert status == 0, err
    assert "3 faces" in out
    assert "-2, -1, 0, +1, +2" in out
    assert "CC0-1.0" in out
    width, height = pixels("edit.png")
    assert height == 3 * 130 - 2
    assert width >= 5 * 130


def test_saved_codes_are_the_edited_ones(line, toy_file: Path, generator):
    line_ = ("--direction", "ganspace:1@0-1=2", "--channel", "b8.conv1:3:-1.5", "--seeds", "4,7")
    status, out, err = line("edit", toy_file, *line_, "--save", "codes.safetensors", "--out", "pair.png")
    assert status == 0, err
    assert "2 faces" in out
    found = Latents.load("codes.safetensors", generator)
    own = of_seeds(generator, [4, 7], 0.7)
    ws = own.ws + 2 * ganspace(generator, 2, [0, 1])[1].ws
    assert torch.allclose(found.ws, ws, atol=1e-5)
    styles = generator.synthesis.styles(ws)
    styles["b8.conv1"][:, 3] -= 1.5
    assert all(torch.allclose(found.styles[name], style, atol=1e-4) for name, style in styles.items())
    assert found.names == ("seed 4", "seed 7")
    status, out, err = line("edit", toy_file, "--codes", "codes.safetensors", "--direction", "sefa:0")
    assert status == 0, err


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_face_in_a_domain_is_edited(line, domains, toy_file: Path, order: str):
    status, out, err = line(
        "edit", domains["stylespace"], "--source", toy_file, "--channel", "b8.conv1:3:+2std", "--order", order,
        "--suppress-domain-at-edit", "--strength", 0.5, "--seeds", "0-1",
    )  # fmt: skip
    assert status == 0, err
    assert "before and after" in out
    assert "mapping" not in out


def test_a_domain_that_moves_the_mapping_is_said(line, domains, toy_file: Path):
    status, out, err = line(
        "edit", domains["mapping"], "--source", toy_file, "--direction", "sefa:0", "--seeds", 0
    )
    assert status == 0, err
    assert "note: this domain moves the mapping" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to edit"),
        (("--direction", "ganspace"), "which one? ganspace:0"),
        (("--direction", "ganspace:99"), "ganspace has the directions 0 to 15"),
        (("--direction", "ganspace:0@0-40"), "rows 0 to"),
        (("--direction", "ganspace:0@512-1024px"), "4 to 16 px"),
        (("--direction", "sefa:0", "--psi", 0.7, "--codes", "x"), "--psi 0.7: it truncates seeds"),
        (("--channel", "b32.conv1:9:1"), "no such layer; there are those of b4, b8, b16"),
        (("--direction", "sefa:0", "--strength", 2), "--strength 2"),
        (("--direction", "sefa:0", "--order", "after"), "--order after"),
        (("--channel", "b8.conv1:99:1"), "channels 0 to"),
        (("--channel", "b8.cov1:9:1"), "did you mean 'b8.conv1'"),
        (("--direction", "sefa:0", "--psi", "nan"), "--psi nan"),
        (("--direction", "sefa:0", "--out", "grid.jpg"), "ends in .png"),
        (("--direction", "sefa:0", "--save", "codes.pt"), "ends in .safetensors"),
        (("--direction", "sefa:0", "--sweep", "0..1", "--columns", 1), "--columns 1"),
        (
            ("--direction", "sefa:0", "--seeds", "0", "--codes", "x"),
            "--codes x says which faces; give one",
        ),
        (("--direction", "sefa:0", "--codes", "x"), "--codes x: no such file"),
        (("--direction", "sefa:0", "--seeds", "0-3000"), "too many"),
    ],
)
def test_what_cannot_be_meant_is_refused(line, toy_file: Path, words: tuple[object, ...], said: str):
    status, _, err = line("edit", toy_file, *words)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("space", "words", "said"),
    [
        ("stylespace", ("--direction", "sefa:0"), "only edits of channels"),
        ("synthesis", ("--channel", "b8.conv1:1:1"), "moves no style vectors"),
    ],
)
def test_a_suppression_of_nothing_is_refused(line, domains, toy_file: Path, space: str, words, said: str):
    status, _, err = line("edit", domains[space], "--source", toy_file, *words, "--suppress-domain-at-edit")
    assert status == 2
    assert said in err


def test_a_file_of_another_kind_is_no_direction(line, toy_file: Path, domains):
    status, _, err = line("edit", toy_file, "--direction", domains["full"])
    assert status == 2
    assert "full.safetensors: a domain, expected a direction of edit" in err


# Directions


def test_a_method_is_listed_and_shown(line, toy_file: Path, generator):
    status, out, err = line("directions", toy_file, "sefa", "--count", 3)
    assert status == 0, err
    for direction in sefa(generator, 3):
        assert direction.name in out
        assert f"{direction.info['share']:.1%}" in out
    width, height = pixels("directions.png")
    assert height == 3 * 130 - 2
    assert width > 7 * 130


def test_one_direction_is_kept_under_the_name_of_its_file(line, toy_file: Path, generator):
    status, out, err = line(
        "directions", toy_file, "ganspace:2@0-1", "--save", "pose.safetensors", "--seeds", "0-1"
    )
    assert status == 0, err
    assert "--direction pose.safetensors=2" in out
    found = Direction.load("pose.safetensors", generator)
    assert found.name == "pose"
    assert torch.allclose(found.ws, ganspace(generator, 3, [0, 1])[2].ws)
    assert pixels("directions.png")[1] == 2 * 130 - 2
    status, _, err = line("edit", toy_file, "--direction", "pose.safetensors@0=-1.5", "--seeds", "0")
    assert status == 0, err


def test_inspect_lists_what_is_in_a_direction_and_in_codes(line, toy_file: Path):
    line("directions", toy_file, "ganspace:2@0-1", "--save", "pose.safetensors", "--seeds", 0)
    status, out, err = line("inspect", "pose.safetensors")
    assert status == 0, err
    assert "ganspace" in out and "one standard deviation" in out and "base sha256" in out
    assert [word for word in out.split("\n") if word.startswith("row ")][1].startswith("row 1 of W+")
    assert "row 2 of W+" not in out
    line("edit", toy_file, "--channel", "b8.conv1:3:-1.5", "--seeds", "4,7", "--save", "codes.safetensors")
    status, out, err = line("inspect", "codes.safetensors")
    assert status == 0, err
    assert "2 codes)" in out and "S, " in out and "b8.conv1:3" in out and "6 rows of W+ of 16 numbers" in out
    assert out.splitlines()[-2:] == ["seed 4", "seed 7"]
    for path, kind in (("codes.safetensors", "a file of codes"), ("pose.safetensors", "a direction of edit")):
        assert f"{kind}, expected a source" in line("sample", path)[2]
        assert f"is {kind}, not a source" in line("inspect", path, "--sample")[2]


def test_a_direction_of_channels_is_known_and_one_of_rows_cannot_suppress(
    line, domains, toy_file: Path, generator
):
    channel(generator, "b8.conv1", 3).save("one.safetensors", generator)
    out = line("inspect", "one.safetensors")[1]
    assert "b8.conv1:3" in out and "+1" in out
    told = ("edit", domains["stylespace"], "--source", toy_file, "--seeds", 0, "--suppress-domain-at-edit")
    assert line(*told, "--direction", "one.safetensors=2")[0] == 0
    other = toy("stylegan2")
    sefa(other, 1)[0].save("other.safetensors", other)
    assert "a direction of edit of the source of sha256" in line(*told, "--direction", "other.safetensors")[2]


def test_labels_of_seeds_make_a_direction(line, toy_file: Path, generator):
    w = of_seeds(generator, range(120), 1.0).ws[:, 0]
    normal = torch.nn.functional.normalize(torch.randn(16, generator=torch.Generator().manual_seed(1)), dim=0)
    middle = (w @ normal).median()
    rows = "".join(f"{i},{int(x @ normal > middle)}\n" for i, x in enumerate(w))
    Path("smile.csv").write_text("name,value\n" + rows)
    status, out, err = line("directions", toy_file, "--labels", "smile.csv", "--save", "smile.safetensors")
    assert status == 0, err
    assert "held-out codes" in out
    assert "channels that differ most" in out
    found = Direction.load("smile.safetensors", generator)
    sides = (w @ found.ws[0]) > (w @ found.ws[0]).median()
    assert float((sides == (w @ normal > middle)).float().mean()) > 0.9

    line("edit", toy_file, "--direction", "sefa:0", "--seeds", "0-19", "--save", "codes.safetensors")
    rows = "".join(f"seed {i},{i % 2}\n" for i in range(20))
    Path("other.csv").write_text(rows)
    status, out, err = line("directions", toy_file, "--labels", "other.csv", "--codes", "codes.safetensors")
    assert (status, out) == (2, "")
    assert "no plane parts the codes" in err


def test_two_folders_make_a_direction_of_channels(line, toy_file: Path, generator):
    for name, level in (("bright", 190), ("dark", 60)):
        Path(name).mkdir()
        for i in range(8):
            Image.new("RGB", (32, 32), (level + 4 * i, level + 3 * i, level)).save(f"{name}/{i}.png")
    status, out, err = line(
        "directions", toy_file, "--folders", "bright", "dark", "--encoder", "random-tiny", "--samples", 120,
        "--align", "off", "--channels", 3, "--save", "light.safetensors",
    )  # fmt: skip
    assert status == 0, err
    assert "8 pictures with, 8 without" in out
    found = Direction.load("light.safetensors", generator)
    assert found.kind == "channels"
    assert len(found.info["channels"]) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give one of"),
        (("sefa", "--labels", "x.csv"), "give one of"),
        (("--labels", "x.csv"), "no such file"),
        (("sefa", "--codes", "x"), "--codes x: it goes with --labels"),
        (("sefa", "--align", "auto"), "--align auto: it goes with --folders"),
        (("sefa", "--samples", 500), "--samples 500: it goes with --folders"),
        (("sefa:600",), "sefa has the directions 0 to 15"),
        (("sefa@0-40",), "rows 0 to 5"),
        (("--folders", "one", "one"), "one: 1 picture; expected at least 5"),
        (("sefa", "--channels", 3), "--channels 3"),
        (("sefa:0=2",), "an amount goes with `stylegraft edit`"),
        (("sefa", "--count", 0), "--count 0"),
        (("sefa", "--save", "x.safetensors"), "which direction? WHAT takes its number"),
        (("--folders", "nowhere", "there"), "nowhere"),
    ],
)
def test_what_finds_nothing_is_refused(line, toy_file: Path, words: tuple[object, ...], said: str):
    Path("one").mkdir()
    Image.new("RGB", (32, 32)).save("one/0.png")
    status, _, err = line("directions", toy_file, *words)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,value\n3,yes\n", "labels.csv line 2: expected name,value; found '3,yes'"),
        ("3,1\n4\n", "line 2"),
        ("3,1\n3,0\n", "'3' is there twice"),
        ("3,1\nseed 4,0\n", "'seed 4' is no seed"),
        ("", "no labels"),
    ],
)
def test_a_bad_label_names_its_line(line, toy_file: Path, text: str, said: str):
    Path("labels.csv").write_text(text)
    status, _, err = line("directions", toy_file, "--labels", "labels.csv")
    assert status == 2
    assert said in err
