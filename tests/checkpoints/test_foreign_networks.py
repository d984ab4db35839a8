"""A user's checkpoint of another tool loads to the networks that were saved in it, whatever the container."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

import foreign_files as files
from foreign_files import WHOLE, both, low_rank_offset, style_offset, weight_offset

from stylegraft.checkpoints import Source, base_digest, load, save_source
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import Discriminator, build_discriminator
from stylegraft.networks.generator import Generator, build_generator, mean_w

SIZES = {"resolution": 16, "img_channels": 3, "c_dim": 0, "channel_base": 128, "channel_max": 12}
G_SIZES = {"architecture": "stylegan2", "z_dim": 16, "w_dim": 16, "mapping_layers": 3, **SIZES}
NO_D = "no discriminator in it"
GOLDEN = ["stylegan2_16px", "stylegan2_32px"]


def alive(network: Any, seed: int = 0) -> Any:
    """Every parameter away from its initial value, the biases of affine layers such that 1 may be taken and added."""
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in sorted({**dict(network.named_parameters()), **dict(network.named_buffers())}.items()):
        if ".miner." in name:
            continue  # no part of any file
        if name.endswith("affine.bias"):
            tensor.data = 1 + torch.randint(-512, 512, tensor.shape, generator=rng) / 1024
        elif name.endswith(("bias", "noise_strength", "w_avg")):
            tensor.data = torch.randn(tensor.shape, generator=rng) * 0.3
        elif name.endswith(("weight", "const", "noise_const")):
            tensor.data.copy_(torch.randn(tensor.shape, generator=rng))
    for name, layer in network.named_modules():
        if name.startswith("mapping.fc"):
            layer.weight.data /= layer.bias_gain
    return network.eval().requires_grad_(False)


def toy(seed: int = 0, **changes: Any) -> Generator:
    return alive(build_generator({**G_SIZES, **changes}), seed)


def toy_d(**changes: Any) -> Discriminator:
    return alive(
        build_discriminator({"architecture": "resnet", "mbstd_group_size": 4, **SIZES, **changes}), 9
    )


def kept(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def inputs(network: Generator | Discriminator, batch: int = 8) -> tuple[Tensor, Tensor | None]:
    """More samples than a group of minibatch-std."""
    rng = torch.Generator().manual_seed(7)
    c = F.one_hot(torch.arange(batch) % network.c_dim, network.c_dim).float() if network.c_dim else None
    if isinstance(network, Generator):
        return torch.randn(batch, network.z_dim, generator=rng), c
    return torch.randn(batch, network.img_channels, network.resolution, network.resolution, generator=rng), c


def output(network: Generator | Discriminator | None) -> Tensor:
    """What a network computes of inputs that are the same each time: truncated images, or logits."""
    assert network is not None
    x, c = inputs(network)
    with torch.no_grad():
        if isinstance(network, Generator):
            return network(x, c, psi=0.7, cutoff=3).image
        logits = network(x, c).logits
    assert logits is not None
    return logits


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def require_equal(found: nn.Module | None, expected: nn.Module) -> None:
    """The same numbers under the same names, and so the same function."""
    assert found is not None
    state, wanted = found.state_dict(), expected.state_dict()
    assert state.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(state[name], tensor), name
    assert torch.equal(output(found), output(expected))
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())


def require_close(found: Any, expected: Any, tolerance: float = 1e-6) -> None:
    """As `require_equal`, but for rounding."""
    state, wanted = found.state_dict(), expected.state_dict()
    assert state.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.allclose(state[name], tensor, rtol=0, atol=tolerance), name
    assert relative(output(found), output(expected)) < 10 * tolerance


def refusal(path: Path) -> str:
    """The line in which a file is refused, without its path."""
    with pytest.raises(StylegraftError) as caught:
        load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said.removeprefix(f"{path}: ")


# --- One network, every container -------------------------------------------------------------------------------------


def containers(folder: Path, g: Generator, d: Discriminator) -> dict[str, Path]:
    """The same two networks in each kind of file."""
    save_source(folder / "ours.safetensors", Source("toy", g, d), torch.float32)
    return {
        "ours": folder / "ours.safetensors",
        "StyleGAN2-ADA": kept(folder / "ada.pkl", files.nvidia_pickle(g, d, raw=g)),
        "StyleGAN3 repository": kept(folder / "sg3.pkl", files.nvidia_pickle(g, d, raw=g, order="sg3", protocol=3)),
        "StyleGAN2 in TensorFlow": kept(folder / "tf4.pkl", files.tensorflow_pickle(g, d)),
        "StyleGAN2-ADA in TensorFlow": kept(folder / "tf5.pkl", files.tensorflow_pickle(g, d, version=5)),
        "rosinality, zip": files.rosinality_file(folder / "zip.pt", g, d),
        "rosinality, stream": files.rosinality_file(folder / "stream.pt", g, d, new=False),
    }  # fmt: skip


def test_a_domain_fits_its_base_in_whatever_container_that_comes(tmp_path: Path):
    """The SHA-256 that a domain records is that of the numbers, not of the file."""
    g, d = toy(), toy_d()
    for name, path in containers(tmp_path, g, d).items():
        source = load(path)
        assert base_digest(source.generator) == base_digest(g), name
        require_equal(source.generator, g)
        require_equal(source.discriminator, d)
        assert source.generator.config["channel_base"] == 128
        assert source.name == ("toy" if name == "ours" else path.stem)


@pytest.mark.parametrize("name", GOLDEN)
def test_official_weights_give_the_official_outputs_from_every_container(name: str, tmp_path: Path):
    """The published networks' numbers, at the tolerance that `networks/test_golden.py` has for our own."""
    with safe_open(Path(__file__).parents[1] / "data" / "golden" / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        published = json.loads(file.metadata()["config"])
    shared = {key: published[key] for key in ("img_channels", "c_dim", "channel_base", "channel_max")}
    shared["resolution"] = published["img_resolution"]
    own = {key: published[key] for key in ("z_dim", "w_dim", "mapping_layers")}
    g = build_generator({"architecture": "stylegan2", **shared, **own}).requires_grad_(False)
    d = build_discriminator({**shared, "mbstd_group_size": published["mbstd_group_size"]}).requires_grad_(
        False
    )
    for letter, network in (("G.", g), ("D.", d)):
        state = {key.removeprefix(letter): value for key, value in tensors.items() if key.startswith(letter)}
        network.load_state_dict({k: v for k, v in state.items() if not k.endswith("resample_filter")})
    made = containers(tmp_path, g, d)
    del made["ours"]
    for container, path in made.items():
        source = load(path)
        z = tensors["in.z"]
        with torch.no_grad():
            images = {
                "ws": source.generator.ws(source.generator.mapping(z)),
                "image_const": source.generator(z, noise="const").image,
                "image_none": source.generator(z, noise="none").image,
                "image_psi0.7_cutoff4_const": source.generator(z, noise="const", psi=0.7, cutoff=4).image,
            }
            assert source.discriminator is not None
            images["logits"] = source.discriminator(images["image_const"]).logits
        for key, found in images.items():
            assert relative(found, tensors[f"out.{key}"]) < 1e-4, (container, key)


# --- NVIDIA, PyTorch --------------------------------------------------------------------------------------------------

G_CASES: dict[str, dict[str, Any]] = {
    "skip": {},
    "orig": {"variant": "orig"},
    "resnet": {"variant": "resnet"},
    "grey": {"img_channels": 1},
    "conditional": {"c_dim": 3},
    "a mapping of 2 layers, another rate": {"mapping_layers": 2, "mapping_lr_multiplier": 0.1},
    "z of 10, w of 14 numbers": {"z_dim": 10, "w_dim": 14},
    "conditional, z of 10, w of 14": {"z_dim": 10, "w_dim": 14, "c_dim": 2},
    "32 px": {"resolution": 32},
    "8 px": {"resolution": 8},
    "a clamp of 256": {"conv_clamp": 256},
    "a clamp that acts": {"conv_clamp": 0.5},
    "a clamp that acts, resnet": {"conv_clamp": 0.5, "variant": "resnet"},
    "another filter": {"resample_filter": [1, 2, 1]},
    "a filter of 12 taps, resnet": {
        "resample_filter": [1, 2, 4, 6, 9, 10, 10, 9, 6, 4, 2, 1],
        "variant": "resnet",
    },
}
D_CASES: dict[str, dict[str, Any]] = {
    "resnet": {},
    "orig": {"architecture": "orig"},
    "skip": {"architecture": "skip"},
    "grey": {"img_channels": 1},
    "conditional": {"c_dim": 3, "mapping_layers": 2},
    "conditional, other rate and width": {
        "c_dim": 3,
        "mapping_layers": 2,
        "cmap_dim": 5,
        "mapping_lr_multiplier": 0.1,
    },
    "conditional without layers": {"c_dim": 3, "mapping_layers": 0},
    "32 px": {"resolution": 32},
    "a clamp that acts": {"conv_clamp": 0.5},
    "a clamp that acts, skip": {"conv_clamp": 0.5, "architecture": "skip"},
    "another filter": {"resample_filter": [1, 2, 1]},
    "groups of 2": {"mbstd_group_size": 2},
    "the batch as one group": {"mbstd_group_size": WHOLE},
    "no minibatch-std": {"mbstd_group_size": 1},
}


@pytest.mark.parametrize("order", ["ada", "sg3"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nvidia_pickles_of_every_protocol_load_bit_for_bit(protocol: int, order: Any, tmp_path: Path):
    g, d = toy(), toy_d()
    data = files.nvidia_pickle(g, d, raw=toy(5), protocol=protocol, order=order)
    assert b"_rebuild_parameter" in data and b"_load_from_bytes" in data and b"EasyDict" in data
    source = load(kept(tmp_path / "a.pkl", data))
    require_equal(source.generator, g)
    require_equal(source.discriminator, d)
    assert source.info["notes"] == []


@pytest.mark.parametrize("changes", G_CASES.values(), ids=G_CASES.keys())
def test_nvidia_generators_of_every_architecture(changes: dict[str, Any], tmp_path: Path):
    g = toy(**changes)
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g)))
    require_equal(source.generator, g)
    for name in ("c_dim", "img_channels", "z_dim", "w_dim", "mapping_layers", "resolution"):
        assert source.generator.config[name] == g.config[name], name
    for name, usual in (("conv_clamp", None), ("variant", "skip"), ("mapping_lr_multiplier", 0.01)):
        assert source.generator.config.get(name, usual) == g.config.get(name, usual), name


@pytest.mark.parametrize("changes", D_CASES.values(), ids=D_CASES.keys())
def test_nvidia_discriminators_of_every_architecture(changes: dict[str, Any], tmp_path: Path):
    d = toy_d(**changes)
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(toy(), d)))
    require_equal(source.discriminator, d)
    assert source.info["notes"] == []


def test_a_clamp_of_fp16_layers_is_kept_and_acts(tmp_path: Path):
    """Networks trained in fp16 bound their layers; in fp32 the bound stays a part of the function."""
    g = toy(conv_clamp=0.5)
    free = build_generator({**g.config, "conv_clamp": None})
    free.load_state_dict(g.state_dict())
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, toy_d(conv_clamp=0.5))))
    assert source.discriminator is not None
    assert source.generator.config["conv_clamp"] == source.discriminator.config["conv_clamp"] == 0.5
    assert relative(output(source.generator), output(free.eval())) > 0.1


STORED: dict[str, dict[str, Any]] = {
    "channels_last": {"channels_last": True},
    "numpy 1": {"numpy": 1},
    "numpy 1, protocol 2": {"numpy": 1, "protocol": 2},
    "NVIDIA's folders in a package": {"package": "stylegan_xl.vendored."},
    "only G_ema": {"keep": ["G_ema"]},
    "Fix the Noise's second noise maps": {"noise_rand": True},
    "Fix the Noise's frozen layers": {
        "frozen": ["synthesis.b4.const", "synthesis.b4.conv1.weight", "synthesis.b4.conv1.bias",
                   "synthesis.b4.conv1.noise_strength", "synthesis.b4.conv1.affine.weight",
                   "synthesis.b4.conv1.affine.bias", "synthesis.b4.torgb.weight", "mapping.fc0.weight"],
    },
}  # fmt: skip


@pytest.mark.parametrize("how", STORED.values(), ids=STORED.keys())
def test_nvidia_generators_however_they_are_stored(how: dict[str, Any], tmp_path: Path):
    g = toy()
    require_equal(load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, **how))).generator, g)


def test_frozen_layers_of_a_discriminator_are_read(tmp_path: Path):
    """FreezeD keeps them among the buffers."""
    d = toy_d()
    frozen = ["b16.fromrgb.weight", "b16.fromrgb.bias", "b16.conv0.weight", "b16.skip.weight"]
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(toy(), d, frozen=frozen)))
    require_equal(source.discriminator, d)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_numbers_of_other_precision_become_fp32(dtype: torch.dtype, tmp_path: Path):
    """Stored halves come out as the fp32 numbers that they are."""
    g, d = toy(), toy_d()
    coarse = copy.deepcopy(g).to(dtype).float(), copy.deepcopy(d).to(dtype).float()
    for name, path in {
        "pickle": kept(tmp_path / "a.pkl", files.nvidia_pickle(g, d, dtype=dtype, channels_last=True)),
        "zip": files.rosinality_file(tmp_path / "a.pt", g, d, dtype=dtype),
        "stream": files.rosinality_file(tmp_path / "b.pt", g, d, dtype=dtype, new=False),
    }.items():
        source = load(path)
        assert base_digest(source.generator) == base_digest(coarse[0]), name
        assert base_digest(source.generator) == base_digest(g, dtype), name
        assert {p.dtype for p in source.generator.parameters()} == {torch.float32}
        require_equal(source.discriminator, coarse[1])


def test_the_averaged_generator_is_taken_and_the_raw_one_only_without_it(tmp_path: Path):
    g, raw, d = toy(), toy(5), toy_d()
    data = files.nvidia_pickle(g, d, raw=raw)
    require_equal(load(kept(tmp_path / "a.pkl", data)).generator, g)
    data = files.nvidia_pickle(g, d, raw=raw, keep=["G", "D"])
    source = load(kept(tmp_path / "b.pkl", data))
    require_equal(source.generator, raw)
    assert source.info["notes"] == ["no averaged generator (G_ema) in the .pkl: the last raw one was used"]


def test_a_generator_pickled_alone_is_read(tmp_path: Path):
    g = toy()
    data = files.dump(files.nvidia_networks(g)["G_ema"], 4)
    require_equal(load(kept(tmp_path / "a.pkl", data)).generator, g)


def test_layers_without_noise_inputs_draw_none(tmp_path: Path):
    g = toy()
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, noise=False)))
    z = inputs(g)[0]
    expected = g(z, noise="none").image
    for noise in ("const", "none", "random"):
        assert relative(source.generator(z, noise=noise).image, expected) < 1e-6, noise


def test_a_mean_of_w_that_is_not_in_the_file_is_estimated_and_said(tmp_path: Path):
    g = toy()
    pickled = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, toy_d(), w_avg=False)))
    port = load(files.rosinality_file(tmp_path / "a.pt", g, toy_d(), keep=["g_ema", "d"]))
    for source in (pickled, port):
        found = source.generator.get_buffer("mapping.w_avg")
        assert torch.equal(found, mean_w(g).float())
        assert base_digest(source.generator) == base_digest(g)
        (note,) = source.info["notes"]
        assert "the mean of w was estimated from 10,000 latents" in note


def test_what_the_file_said_of_itself_is_kept(tmp_path: Path):
    found = load(kept(tmp_path / "ffhq.pkl", files.nvidia_pickle(toy())))
    assert found.name == "ffhq"
    assert found.info["format"] == "NVIDIA PyTorch pickle"
    assert found.info["network"] == "Generator"
    assert found.info["embedded source sha256"] == hashlib.sha256(files.SOURCE.encode()).hexdigest()
    assert "ask whoever published" in found.info["licence"]
    (note,) = found.info["notes"]
    assert note.startswith(NO_D) and "adapt" in note


def test_stylegan3_is_refused_with_what_to_do_instead(tmp_path: Path):
    said = refusal(kept(tmp_path / "t.pkl", files.stylegan3_pickle()))
    assert "StyleGAN3 generator (config T or R)" in said
    assert "no noise inputs" in said and "--cfg=stylegan2" in said


# --- StyleDomain's offsets, against a forward pass that applies them ------------------------------------------------

CONV, UP, RGB = "b8.conv1", "b16.conv0", "b16.torgb"
draw = torch.Generator()


@pytest.fixture(autouse=True)
def seeded() -> None:
    draw.manual_seed(3)


def normal(*shape: int, scale: float = 0.3) -> Tensor:
    return torch.randn(shape, generator=draw) * scale


def explicit(
    g: Generator,
    ws: Tensor,
    *,
    style: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    latent: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    matrix: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    kernel: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Tensor:
    """The image of rows of W+ when a layer's w, its affine matrix, its style and its kernel are changed on the way.

    A style is changed as it enters the modulation: for toRGB after the gain 1 / sqrt(C_in).
    """
    changed = copy.deepcopy(g)
    for name, change in (kernel or {}).items():
        weight = changed.synthesis.get_parameter(f"{name}.weight")
        weight.data = change(weight.data)
    styles = {}
    for layer in g.layers:
        own: Any = g.synthesis.get_submodule(f"{layer.name}.affine")
        w = ws[:, layer.row]
        w = (latent or {}).get(layer.name, lambda x: x)(w)
        a = (matrix or {}).get(layer.name, lambda x: x)(own.weight)
        s = w @ a.T * g.w_dim**-0.5 + own.bias
        gain = layer.channels**-0.5 if layer.kind == "torgb" else 1.0
        styles[layer.name] = (style or {}).get(layer.name, lambda x: x)(s * gain) / gain
    return changed(styles=styles).image


def width(layer: str) -> tuple[int, int]:
    """C_out, C_in of a toy layer."""
    weight = toy().synthesis.get_parameter(f"{layer}.weight")
    return weight.shape[0], weight.shape[1]


STYLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "additive": lambda x, delta: x + delta,
    "multiplicative": lambda x, delta: (1 + delta) * x,
}


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("layer", [CONV, UP, RGB])
@pytest.mark.parametrize("rule", ["additive", "multiplicative", "additive_w_space", "multiplicative_w_space"])
def test_a_style_offset_acts_as_styledomain_applies_it(rule: str, layer: str, masked: bool, tmp_path: Path):
    """s + delta, (1 + delta) s, A (w + delta) + b, A ((1 + delta) w) + b; s of toRGB after its gain."""
    g = toy()
    size = g.w_dim if rule.endswith("w_space") else width(layer)[1]
    delta, mask = normal(size), (torch.arange(size) % 2).float() if masked else torch.ones(size)
    extras = {f"synthesis.{layer}": style_offset(rule, delta, mask)}
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, extras=extras)))
    ws = g.ws(g.mapping(inputs(g)[0]))
    change = {layer: lambda x: STYLE[rule.removesuffix("_w_space")](x, delta * mask)}
    expected = explicit(g, ws, **{"latent" if rule.endswith("w_space") else "style": change})
    assert relative(expected, g(ws=ws).image) > 1e-3
    assert relative(source.generator(ws=ws).image, expected) < 1e-5
    assert source.info["notes"][0] == "offsets of StyleDomain in 1 layers are folded into the generator"


SHAPES: dict[str, Callable[[int, int, int], tuple[int, ...]]] = {
    "in": lambda o, i, k: (1, i, 1, 1),
    "out": lambda o, i, k: (o, 1, 1, 1),
    "spatial": lambda o, i, k: (1, 1, k, k),
    "in_spatial": lambda o, i, k: (1, i, k, k),
    "out_spatial": lambda o, i, k: (o, 1, k, k),
    "out_in": lambda o, i, k: (o, i, 1, 1),
}


@pytest.mark.parametrize("layer", [UP, RGB])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_weight_offset_acts_on_the_kernel_before_modulation(kind: str, layer: str, tmp_path: Path):
    """theta + D, or theta (1 + D), with D shared over the axes that it does not have."""
    g = toy()
    d = normal(*SHAPES[kind](*width(layer), 1 if layer == RGB else 3))
    ws = g.ws(g.mapping(inputs(g)[0]))
    for rule, change in ((f"{kind}_additive", lambda x: x + d), (kind, lambda x: x * (1 + d))):
        extras = {f"synthesis.{layer}": weight_offset(rule, d)}
        source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, extras=extras)))
        expected = explicit(g, ws, kernel={layer: change})
        cancelled = rule == "out" and layer == UP  # the length of a kernel, by demodulation
        assert (relative(expected, g(ws=ws).image) > 1e-3) != cancelled
        assert relative(source.generator(ws=ws).image, expected) < 1e-5


@pytest.mark.parametrize("frozen", [(), ("weights_offset_out_0",)], ids=["", "a frozen factor"])
@pytest.mark.parametrize("terms", [1, 2, 3])
def test_a_low_rank_weight_offset_is_the_mean_of_its_products(
    terms: int, frozen: tuple[str, ...], tmp_path: Path
):
    """D = (1 / T) sum U_t V_t, each [C_out, K] times [K, C_in]."""
    g = toy()
    out, given = width(UP)
    pairs = [(normal(out, 5), normal(5, given)) for _ in range(terms)]
    rule = f"out_in_5_{terms}{'_train_in' if frozen else ''}_additive"
    extras = {f"synthesis.{UP}": low_rank_offset(rule, pairs, frozen)}
    data = files.nvidia_pickle(g, extras=extras)
    assert b"getattr" in data  # that code base keeps bound methods of its layers in them
    source = load(kept(tmp_path / "a.pkl", data))
    ws = g.ws(g.mapping(inputs(g)[0]))
    d = torch.stack([u @ v for u, v in pairs]).mean(0)[:, :, None, None]
    expected = explicit(g, ws, kernel={UP: lambda x: x + d})
    assert relative(source.generator(ws=ws).image, expected) < 1e-5


@pytest.mark.parametrize("layer", [CONV, RGB])
@pytest.mark.parametrize(
    "rule", ["affine_out_in_5_1_additive", "affine_out_in_5_1", "affine_out_in_5_3_additive"]
)
def test_a_low_rank_affine_offset_acts_on_the_stored_matrix(rule: str, layer: str, tmp_path: Path):
    """A + U V (or A (1 + U V)) under the gain 1 / sqrt(w_dim); of several products that code base takes the sum."""
    g = toy()
    pairs = [(normal(width(layer)[1], 5), normal(5, g.w_dim)) for _ in range(int(rule.split("_")[4]))]
    extras = {f"synthesis.{layer}.affine": low_rank_offset(rule, pairs)}
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, extras=extras)))
    ws = g.ws(g.mapping(inputs(g)[0]))
    shift = sum(u @ v for u, v in pairs)
    change = (lambda a: a + shift) if rule.endswith("additive") else (lambda a: a * (1 + shift))
    expected = explicit(g, ws, matrix={layer: change})
    assert relative(expected, g(ws=ws).image) > 1e-3
    assert relative(source.generator(ws=ws).image, expected) < 1e-5


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_affine_light_plus_with_style_offsets_in_all_layers_at_once(protocol: int, tmp_path: Path):
    """Every layer with a low-rank affine offset and a style offset, one block with weight offsets."""
    g, d = toy(), toy_d()
    extras, style, matrix, kernel = {}, {}, {}, {}
    for layer in g.layers:
        name, delta = f"synthesis.{layer.name}", normal(layer.channels)
        pair = normal(layer.channels, 5), normal(5, g.w_dim)
        extras[name] = style_offset("multiplicative", delta)
        extras[f"{name}.affine"] = low_rank_offset("affine_out_in_5_1_additive", [pair])
        style[layer.name] = lambda s, x=delta: (1 + x) * s
        matrix[layer.name] = lambda a, x=pair: a + x[0] @ x[1]
        if layer.resolution == 8:
            shift = normal(*width(layer.name), 1, 1)
            extras[name] = both(extras[name], weight_offset("out_in_additive", shift))
            kernel[layer.name] = lambda k, x=shift: k + x
    data = files.nvidia_pickle(g, d, raw=g, extras=extras, protocol=protocol)
    source = load(kept(tmp_path / "a.pkl", data))
    ws = g.ws(g.mapping(inputs(g)[0]))
    expected = explicit(g, ws, style=style, matrix=matrix, kernel=kernel)
    assert relative(source.generator(ws=ws).image, expected) < 1e-5
    count = 2 * len(g.layers)
    assert source.info["notes"] == [f"offsets of StyleDomain in {count} layers are folded into the generator"]
    require_equal(source.discriminator, d)
    assert source.generator.state_dict().keys() == g.state_dict().keys()


def test_offsets_of_zero_change_no_bit(tmp_path: Path):
    """A run that has not begun is its base, and a domain of that base fits it."""
    g = toy()
    extras = {}
    for layer in g.layers:
        out, given = width(layer.name)
        extras[f"synthesis.{layer.name}"] = both(
            style_offset("additive", torch.zeros(given)),
            weight_offset("out_in_additive", torch.zeros(out, given, 1, 1)),
        )
        pair = torch.zeros(given, 5), normal(5, g.w_dim)
        extras[f"synthesis.{layer.name}.affine"] = low_rank_offset("affine_out_in_5_1_additive", [pair])
    source = load(kept(tmp_path / "a.pkl", files.nvidia_pickle(g, extras=extras)))
    assert base_digest(source.generator) == base_digest(g)


def test_no_other_method_than_those_two_is_let_through(tmp_path: Path):
    """Even so nothing is looked up: the name of a method is read, and the method left out."""
    for at, method in enumerate((lambda network: network.forward, lambda network: "text".upper)):
        value = files.nvidia_networks(toy())
        value["beside"] = method(value["G_ema"])
        said = refusal(kept(tmp_path / f"{at}.pkl", files.dump(value, 4)))
        assert (
            "the name builtins.getattr for something else than a layer's get_parameter or get_buffer" in said
        )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (style_offset("additive", torch.zeros(5)), "style offset of synthesis.b8.conv1 whose kind or size"),
        (style_offset("rotated", torch.zeros(12)), "style offset 'rotated' of synthesis.b8.conv1"),
        (weight_offset("out_in_additive", torch.zeros(5, 5, 1, 1)), "[5, 5, 1, 1] of synthesis.b8.conv1"),
        (low_rank_offset("out+in_additive", [(torch.zeros(12, 1), torch.zeros(1, 12))]), "'out+in_additive'"),
    ],
    ids=["size", "rule", "weights", "a sum of two vectors"],
)
def test_offsets_that_nobody_can_apply_are_refused_by_layer(extra: Any, message: str, tmp_path: Path):
    said = refusal(kept(tmp_path / "a.pkl", files.nvidia_pickle(toy(), extras={f"synthesis.{CONV}": extra})))
    assert message in said


# --- NVIDIA, TensorFlow -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "numpy"), [(2, 1), (3, 1), (4, 1), (2, 2), (4, 2), (5, 2)])
@pytest.mark.parametrize("version", [4, 5])
def test_tensorflow_pickles_load_without_tensorflow(version: int, protocol: int, numpy: int, tmp_path: Path):
    g, d = toy(), toy_d()
    data = files.tensorflow_pickle(g, d, raw=toy(5), version=version, protocol=protocol, numpy=numpy)
    source = load(kept(tmp_path / "a.pkl", data))
    require_equal(source.generator, g)
    require_equal(source.discriminator, d)
    assert source.info["notes"] == []
    assert source.info["format"] == "NVIDIA TensorFlow pickle"
    assert source.info["network"] == "Gs"
    assert "tensorflow" not in sys.modules and "dnnlib" not in sys.modules


# Labels came with version 5, which embeds them in as many numbers as z has (ours: as w has).
TF_CASES = [(name, 5) for name in G_CASES if name != "conditional, z of 10, w of 14"]
TF_CASES += [(name, 4) for name, _ in TF_CASES if name != "conditional"]


@pytest.mark.parametrize(("name", "version"), TF_CASES)
def test_tensorflow_generators_of_every_architecture(name: str, version: int, tmp_path: Path):
    g = toy(**G_CASES[name])
    d = toy_d(resolution=g.resolution, img_channels=g.img_channels)
    source = load(kept(tmp_path / "a.pkl", files.tensorflow_pickle(g, d, version=version)))
    require_equal(source.generator, g)
    require_equal(source.discriminator, d)


@pytest.mark.parametrize("changes", D_CASES.values(), ids=D_CASES.keys())
def test_tensorflow_discriminators_of_every_architecture(changes: dict[str, Any], tmp_path: Path):
    d = toy_d(**changes)
    source = load(kept(tmp_path / "a.pkl", files.tensorflow_pickle(toy(), d, version=5)))
    require_equal(source.discriminator, d)


def test_numbers_that_tensorflow_counts_from_one_keep_their_value(tmp_path: Path):
    """Modulation biases are stored less 1, which rounds."""
    g, d = toy(), toy_d()
    for layer in g.layers:
        bias = g.synthesis.get_parameter(f"{layer.name}.affine.bias")
        bias.data = 1 + normal(*bias.shape, scale=0.1)
    require_close(load(kept(tmp_path / "a.pkl", files.tensorflow_pickle(g, d))).generator, g)


def test_a_setting_that_was_left_out_has_the_default_of_its_version(tmp_path: Path):
    """Groups of minibatch-std: 4 in StyleGAN2, the whole batch in StyleGAN2-ADA; rate of D's mapping: 0.1."""
    labels = {"c_dim": 3, "mapping_layers": 2}
    for version, group in ((4, 4), (5, WHOLE)):
        d = toy_d(
            mbstd_group_size=group, **({**labels, "mapping_lr_multiplier": 0.1} if version == 5 else {})
        )
        value = files.tensorflow_networks(toy(), d, version=version)
        for key in ("mbstd_group_size", "mapping_lrmul"):
            value[1].static_kwargs.pop(key, None)
        source = load(kept(tmp_path / "a.pkl", files.dump(value, 3)))
        require_equal(source.discriminator, d)


def test_no_filter_means_a_box(tmp_path: Path):
    g, d = toy(resample_filter=[1, 1]), toy_d(resample_filter=[1, 1])
    nothing = {"resample_kernel": None}
    data = files.tensorflow_pickle(g, d, settings=nothing, d_settings=nothing)
    source = load(kept(tmp_path / "a.pkl", data))
    require_equal(source.generator, g)
    require_equal(source.discriminator, d)


def test_settings_of_training_do_not_matter(tmp_path: Path):
    g, d = toy(), toy_d()
    training = {
        "style_mixing_prob": None,
        "dlatent_avg_beta": 0.99,
        "truncation_psi_val": 1,
        "dtype": "float32",
    }
    data = files.tensorflow_pickle(g, d, version=5, settings=training, d_settings={"freeze_layers": 4})
    source = load(kept(tmp_path / "a.pkl", data))
    require_equal(source.generator, g)
    require_equal(source.discriminator, d)


@pytest.mark.parametrize("noise", [True, False], ids=["", "without noise"])
def test_a_grown_network_is_the_one_of_its_largest_size(noise: bool, tmp_path: Path):
    """Configs B to D keep the image layers of every size that they have grown through, and use the last."""
    g, d = toy(variant="orig"), toy_d(architecture="orig")
    data = files.tensorflow_pickle(g, d, grown=True, noise=noise)
    source = load(kept(tmp_path / "a.pkl", data))
    require_equal(source.discriminator, d)
    if noise:
        require_equal(source.generator, g)
    z = inputs(g)[0]
    expected = g(z, noise="const" if noise else "none").image
    assert relative(source.generator(z, noise="const").image, expected) < 1e-6


def test_an_averaged_generator_alone_is_read(tmp_path: Path):
    g = toy()
    _, _, averaged = files.tensorflow_networks(g, toy_d())
    for value in (averaged, (averaged,)):
        source = load(kept(tmp_path / "a.pkl", files.dump(value, 3, numpy=1)))
        require_equal(source.generator, g)
        assert source.info["notes"][0] == "one network in it: taken for the averaged generator"
        assert source.info["notes"][1].startswith(NO_D)


def test_labels_of_the_first_tensorflow_code_are_refused(tmp_path: Path):
    """StyleGAN2 joined z and label before it normalised them, which StyleGAN2-ADA and we do not."""

    def joined(variables: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        own = dict(variables)
        weight = own.pop("LabelEmbed/weight")
        del own["LabelEmbed/bias"]
        return [("LabelConcat/weight", weight), *own.items()]

    data = files.tensorflow_pickle(toy(c_dim=3), toy_d(), change=joined)
    said = refusal(kept(tmp_path / "a.pkl", data))
    assert "labels" in said and "LabelConcat" in said


@pytest.mark.parametrize("version", [1, 2, 3, 6, None])
def test_other_versions_of_tensorflow_networks_are_refused_by_number(version: Any, tmp_path: Path):
    data = files.tensorflow_pickle(toy(), toy_d(), version=version)
    said = refusal(kept(tmp_path / "a.pkl", data))
    assert f"a TensorFlow network of version {version or 'unknown'}" in said
    assert ("StyleGAN 1 or Progressive GAN" in said) == (version in (1, 2, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize_latents": False}, "does not normalise z"),
        ({"mapping_nonlinearity": "relu"}, "another activation than lrelu"),
        ({"fmap_const": 4}, "the setting 'fmap_const'"),
    ],
)
def test_settings_that_change_the_function_are_refused_by_name(settings: Any, message: str, tmp_path: Path):
    data = files.tensorflow_pickle(toy(), toy_d(), settings=settings)
    assert message in refusal(kept(tmp_path / "a.pkl", data))


# --- rosinality -------------------------------------------------------------------------------------------------------

TRAINER = ("g", "d", "g_ema", "g_optim", "d_optim", "args", "ada_aug_p")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("changes", [{}, {"resolution": 32, "channel_base": 512}, {"mapping_layers": 8}],
                         ids=["multiplier 1", "multiplier 2, 32 px", "mapping of 8"])  # fmt: skip
def test_the_trainers_checkpoint_loads_with_its_optimisers_and_arguments(
    changes: Any, new: bool, tmp_path: Path
):
    g = toy(**changes)
    sizes = {key: value for key, value in changes.items() if key != "mapping_layers"}
    d = toy_d(**sizes)
    path = files.rosinality_file(tmp_path / "a.pt", g, d, raw=toy(5, **changes), keep=TRAINER, new=new)
    source = load(path)
    g.get_buffer("mapping.w_avg").copy_(mean_w(g))
    require_equal(source.generator, g)
    require_equal(source.discriminator, d)
    assert source.info["format"] == "rosinality checkpoint"
    assert [note.split(":")[0] for note in source.info["notes"]] == ["no latent_avg in the .pt"]


LAYOUTS: dict[str, dict[str, Any]] = {
    "the converter's": {"keep": ["g_ema", "latent_avg"]},
    "JoJoGAN's, only g": {"keep": ["g", "latent_avg"]},
    "StyleGAN-NADA's": {"keep": ["g_ema", "g_optim", "iter", "latent_avg"]},
    "DataParallel's": {"prefix": "module.", "keep": ["g_ema", "latent_avg"]},
    "pSp's, e4e's": {"keep": ["state_dict", "latent_avg", "opts"]},
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_of_the_port_and_its_forks(layout: dict[str, Any], new: bool, tmp_path: Path):
    g = toy()
    source = load(files.rosinality_file(tmp_path / "a.pt", g, new=new, **layout))
    require_equal(source.generator, g)
    notes = [note for note in source.info["notes"] if not note.startswith(NO_D)]
    assert notes == (
        ["no averaged generator (g_ema) in the .pt: `g` was used"] if "g" in layout["keep"] else []
    )
    assert len(source.info["notes"]) == len(notes) + 1


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_discriminator_of_the_port_is_read(prefix: str, tmp_path: Path):
    d = toy_d()
    require_equal(load(files.rosinality_file(tmp_path / "a.pt", toy(), d, prefix=prefix)).discriminator, d)


def test_a_discriminator_that_is_none_of_ours_is_left_out_and_said(tmp_path: Path):
    """The generator is what most users are after."""
    g = toy()
    value = files.rosinality_value(g, toy_d())
    value["d"]["final_conv.0.weight"] = torch.randn(12, 14, 3, 3)
    torch.save(value, tmp_path / "a.pt")
    source = load(tmp_path / "a.pt")
    require_equal(source.generator, g)
    assert source.discriminator is None
    (note,) = source.info["notes"]
    assert note == (
        "its discriminator is left out: a discriminator with 2 channels of minibatch-std; known are 0 and 1"
    )


def test_a_bare_state_dict_is_read(tmp_path: Path):
    g = toy()
    torch.save(files.rosinality_state(g), tmp_path / "a.pt")
    source = load(tmp_path / "a.pt")
    assert base_digest(source.generator) == base_digest(g)


def test_the_averaged_generator_of_a_trainers_checkpoint_is_taken(tmp_path: Path):
    g, raw = toy(), toy(5)
    path = files.rosinality_file(tmp_path / "a.pt", g, raw=raw, keep=["g", "g_ema", "latent_avg"])
    require_equal(load(path).generator, g)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: {"d": v["d"]}, "no generator in it (it holds d; expected g_ema or g)"),
        (lambda v: v["g_ema"].pop("convs.1.conv.weight") is None or v, "b8.conv1"),
        (lambda v: {**v, "g_ema": {**v["g_ema"], "convs.0.conv.extra": torch.zeros(2)}}, "'convs.0.conv.extra'"),
        (lambda v: [v], "a list, no checkpoint of networks"),
        (lambda v: {"heads": v["g_ema"], "model_type": "mapper"}, "a hypernetwork of HyperDomainNet"),
    ],
    ids=["only d", "a missing kernel", "an unknown tensor", "a list", "a hypernetwork"],
)  # fmt: skip
def test_checkpoints_of_other_networks_are_refused_by_what_they_hold(
    change: Any, message: str, tmp_path: Path
):
    torch.save(change(files.rosinality_value(toy(), toy_d())), tmp_path / "a.pt")
    assert message in refusal(tmp_path / "a.pt")
