"""A user points the verbs at files of other tools: from file to grid, to another format, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from stylegraft.checkpoints import Source, base_digest, load, save_rosinality
from stylegraft.cli.main import main
from stylegraft.domains import Domain


@pytest.fixture(scope="module")
def ros(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ros") / "stylegan2-toy.pt"
    save_rosinality(path, load(toy_file))
    return path


@pytest.fixture(scope="module")
def direction(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heads") / "models_300.pt"
    layers = [layer for layer in load(toy_file).generator.layers if layer.kind == "conv"]
    state = {
        f"heads.conv_{k}.params_in": torch.full((1, layer.channels), 0.3) for k, layer in enumerate(layers)
    }
    torch.save(
        {"model_type": "parametrization", "patch_key": "s_delta", "state_dict": state, "da_type": "td"}, path
    )
    return path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]):
    def call(*line: object, status: int = 0) -> str:
        assert main([str(part) for part in line]) == status
        captured = capsys.readouterr()
        return captured.err if status else captured.out

    return call


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def test_one_command_from_file_to_grid(ros: Path, toy_file: Path, tmp_path: Path, say):
    told = say("sample", ros, "--seeds", "0-3", "--out", tmp_path / "ros.png")
    assert "licence: CC0-1.0 (random numbers)" in told
    say("sample", toy_file, "--seeds", "0-3", "--out", tmp_path / "toy.png")
    assert pixels(tmp_path / "ros.png") == pixels(tmp_path / "toy.png")


def test_inspect_says_what_a_foreign_file_is_and_draws_it(
    ros: Path, toy_file: Path, tmp_path: Path, say, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = say("inspect", ros, "--sample")
    g, d = load(toy_file).generator, load(toy_file).discriminator
    assert d is not None
    for part in ("rosinality checkpoint", base_digest(g), "16 px, 3 channels", "minibatch-std of 4", "mapping of 2",
                 f"{sum(p.numel() for p in g.parameters()):,}", f"{sum(p.numel() for p in d.parameters()):,}",
                 "CC0-1.0 (random numbers)"):  # fmt: skip
        assert part in told, part
    assert (tmp_path / "stylegan2-toy-sample.png").is_file()


def test_convert_goes_both_ways_without_a_changed_bit(ros: Path, toy_file: Path, tmp_path: Path, say):
    say("convert", ros, tmp_path / "ours.safetensors")
    told = say("convert", tmp_path / "ours.safetensors", tmp_path / "theirs.pt")
    assert "channel_multiplier" in told
    digests = {
        base_digest(load(path).generator)
        for path in (ros, toy_file, tmp_path / "ours.safetensors", tmp_path / "theirs.pt")
    }
    assert len(digests) == 1


def test_a_domain_is_folded_into_an_ordinary_generator(
    ros: Path, toy_file: Path, direction: Path, tmp_path: Path, say
):
    say("convert", direction, tmp_path / "domain.safetensors", "--as-domain", "--source", ros)
    domain = Domain.load(tmp_path / "domain.safetensors", load(toy_file).generator)
    for model in (direction, tmp_path / "domain.safetensors"):
        for name in ("merged.pt", "merged.safetensors"):
            say("convert", model, tmp_path / name, "--source", ros, "--strength", 0.5)
            merged = load(tmp_path / name)
            expected = (domain * 0.5).merge(load(toy_file).generator)
            assert base_digest(merged.generator) == base_digest(expected)
            assert merged.discriminator is not None
    say(
        "sample", direction, "--source", ros, "--strength", 0.5, "--seeds", "0-3", "--out", tmp_path / "a.png"
    )
    say("sample", tmp_path / "merged.pt", "--seeds", "0-3", "--out", tmp_path / "b.png")
    assert pixels(tmp_path / "a.png") == pixels(tmp_path / "b.png")


def test_adapt_starts_from_a_foreign_file_and_its_domain_fits_every_container(
    ros: Path, toy_file: Path, toy_images: Path, tmp_path: Path, say
):
    line = ("--space", "stylespace", "--steps", 2, "--batch", 2, "--align", "off", "--set", "warmup=0")
    told = say("adapt", ros, toy_images, "--out", tmp_path / "run", *line)
    assert f"stylegraft sample {tmp_path / 'run'} --source {ros}" in told
    for base, name in ((ros, "a.png"), (toy_file, "b.png")):
        say("sample", tmp_path / "run", "--source", base, "--seeds", "0-3", "--out", tmp_path / name)
    assert pixels(tmp_path / "a.png") == pixels(tmp_path / "b.png")


def test_a_conditional_source_draws_its_classes(tmp_path: Path, say):
    from stylegraft.checkpoints import save_source
    from stylegraft.networks.generator import build_generator

    torch.manual_seed(0)
    sizes = {
        "resolution": 16,
        "channel_base": 128,
        "channel_max": 8,
        "z_dim": 8,
        "w_dim": 8,
        "mapping_layers": 2,
    }
    save_source(
        tmp_path / "c.safetensors",
        Source("c", build_generator({"architecture": "stylegan2", "c_dim": 3, **sizes})),
    )
    for name, options in (("turn.png", ()), ("zero.png", ("--label", 0)), ("two.png", ("--label", 2))):
        say("sample", tmp_path / "c.safetensors", "--seeds", "0-3", "--out", tmp_path / name, *options)
    assert len({pixels(tmp_path / f"{name}.png") for name in ("turn", "zero", "two")}) == 3
    assert "has the classes 0 to 2" in say("sample", tmp_path / "c.safetensors", "--label", 3, status=2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("convert", "ROS", "OUT/a.pkl"), "NVIDIA's .pkl holds the source text"),
        (("convert", "ROS", "OUT/a.onnx"), "expected a name that ends in .safetensors (ours"),
        (("convert", "ROS", "OUT/a.pt", "--half"), "is no .safetensors"),
        (("convert", "ROS", "ROS"), "this would overwrite the source that is read"),
        (("convert", "HEADS", "ROS", "--source", "ROS"), "this would overwrite the source that is read"),
        (("convert", "HEADS", "TOY", "--as-domain", "--source", "TOY"), "this would overwrite the source that is read"),
        (("sample", "https://somewhere.example/ffhq.pkl"), "fetch it first"),
        (("convert", "ROS", "OUT/none/a.pt"), "does not exist"),
        (("convert", "ROS", "OUT/a.pt", "--strength", "0.5"), "is a source; only domains have one"),
        (("convert", "ROS", "OUT/a.safetensors", "--as-domain"), "is a source, not a direction file"),
        (("convert", "HEADS", "OUT/a.pt"), "give the rosinality .pt that it was trained on with --source"),
        (("sample", "HEADS"), "does not hold its generator"),
        (("sample", "ROS", "--source", "ROS"), "is a source itself"),
        (("inspect", "HEADS", "--sample"), "is a direction"),
        (("adapt", "HEADS", "pencil"), "a direction, expected a source"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "-".join(value[:2]),
)  # fmt: skip
def test_a_wrong_guess_gets_a_line_of_help(
    line, message, ros: Path, toy_file: Path, direction: Path, tmp_path: Path, say
):
    names = {"ROS": ros, "HEADS": direction, "TOY": toy_file}
    before = [path.read_bytes() for path in names.values()]
    told = say(*(names.get(part, part.replace("OUT", str(tmp_path))) for part in line), status=2)
    assert message in told and told.count("\n") == 1 and told.startswith("error: ")
    assert [path.read_bytes() for path in names.values()] == before


def test_inspect_reads_a_direction(direction: Path, say):
    told = say("inspect", direction)
    for part in ("StyleSpace direction", "s_delta", "5 convolutions", "given with --source"):
        assert part in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"<!DOCTYPE html><html><body>Quota exceeded</body></html>",
            "a web page, which is what a failed download leaves",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull fetches it"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "an image"),
    ],
    ids=["page", "lfs", "image"],
)
def test_what_is_often_mistaken_for_a_checkpoint_is_called_by_its_name(
    content: bytes, message: str, tmp_path: Path, say
):
    (tmp_path / "ffhq.pkl").write_bytes(content)
    for verb in ("sample", "inspect"):
        told = say(verb, tmp_path / "ffhq.pkl", status=2)
        assert message in told and told.count("\n") == 1
    from stylegraft.errors import StylegraftError

    with pytest.raises(StylegraftError, match=message):
        load(tmp_path / "ffhq.pkl")


def test_nothing_is_written_into_a_run(ros: Path, toy_images: Path, tmp_path: Path, say):
    line = ("--space", "stylespace", "--steps", 1, "--batch", 2, "--align", "off", "--set", "warmup=0")
    say("adapt", ros, toy_images, "--out", tmp_path / "run", *line)
    told = say("convert", tmp_path / "run", tmp_path / "run" / "mine.pt", "--source", ros, status=2)
    assert "inside the run" in told


def test_what_a_file_says_of_itself_neither_leads_out_of_the_folder_nor_to_the_terminal(
    toy_file: Path, tmp_path: Path, say, monkeypatch
):
    from stylegraft.checkpoints import save_source

    toy = load(toy_file)
    save_source(
        tmp_path / "a.safetensors",
        Source("../../ESCAPED", toy.generator, None, {"licence": "free\x1b[2J\nlicence: MIT"}),
    )
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    told = say("inspect", tmp_path / "a.safetensors", "--sample")
    assert [path.name for path in tmp_path.rglob("*.png")] == ["a-sample.png"]
    assert (tmp_path / "here" / "a-sample.png").exists()
    assert "\x1b" not in told and not any(line.startswith("licence: MIT") for line in told.splitlines())
    assert "\\x1b[2J\\nlicence: MIT" in say("sample", tmp_path / "a.safetensors", "--seeds", "0")


@pytest.mark.parametrize("resolution", ['"abc"', "null", "[16]", "1e999"])
def test_a_header_that_lies_is_refused_in_one_line(resolution: str, toy_file: Path, tmp_path: Path, say):
    data = toy_file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = (
        data[8 : 8 + size]
        .decode()
        .replace('\\"resolution\\":16', f'\\"resolution\\":{resolution}'.replace('"abc"', '\\"abc\\"'), 2)
    )
    (tmp_path / "lie.safetensors").write_bytes(
        len(header.encode()).to_bytes(8, "little") + header.encode() + data[8 + size :]
    )
    told = say("adapt", tmp_path / "lie.safetensors", "pencil", status=2)
    assert "lie.safetensors" in told and told.count("\n") == 1


def test_a_huge_header_costs_nothing(tmp_path: Path, say):
    header = b"{" + b",".join(b'"%x":0' % i for i in range(1_000_000)) + b"}"
    (tmp_path / "huge.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "the limit is" in say("sample", tmp_path / "huge.safetensors", status=2)
