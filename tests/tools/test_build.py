"""What the build of the sources promises: it goes on where it stopped, on this machine and on the next."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from stylegraft.checkpoints import Source, save_source
from stylegraft.data.grids import to_uint8
from stylegraft.encoders.lpips import LPIPS
from stylegraft.encoders.vgg16 import LAYERS
from stylegraft.errors import StylegraftError
from stylegraft.networks import build_discriminator, build_generator
from stylegraft.networks.haar import haar

TOOLS = Path(__file__).parents[2] / "tools" / "build_faces"
MODULES = ("state", "data", "distill", "adversarial", "critic", "noise", "card")

SMALL = {"resolution": 16, "img_channels": 3, "c_dim": 0}
MOBILE = {
    **SMALL,
    "architecture": "mobile",
    "z_dim": 16,
    "w_dim": 16,
    "mapping_layers": 2,
    "channels": {"4": 8, "8": 8},
}
PIXELS = {**MOBILE, "channels": {"4": 8, "8": 8, "16": 8}}
STYLEGAN2 = {
    **SMALL,
    "architecture": "stylegan2",
    "z_dim": 16,
    "w_dim": 16,
    "mapping_layers": 2,
    "channel_base": 128,
    "channel_max": 8,
}
CRITIC = {
    **SMALL,
    "architecture": "resnet",
    "channel_base": 128,
    "channel_max": 8,
    "mbstd_group_size": 4,
}


@pytest.fixture(scope="module")
def tools():
    """The build's scripts as modules; their plain names are forgotten again afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(TOOLS))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(TOOLS))
        for name in {path.stem for path in TOOLS.glob("*.py")} - before:
            sys.modules.pop(name, None)


def trained(config: dict) -> dict[str, torch.nn.Module]:
    """A toy after some steps: raw generator, its average with the same mapping, discriminator."""
    torch.manual_seed(0)
    raw, average, critic = build_generator(config), build_generator(config), build_discriminator(CRITIC)
    average.mapping.load_state_dict(raw.mapping.state_dict())
    return {"G": raw, "E": average, "D": critic}


def notes(config: dict) -> dict:
    return {"generator": config, "discriminator": CRITIC, "step": 7, "images": 56, "recipe": {"batch": 8}}


def as_halves(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.half().float() for k, v in module.state_dict().items()}


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("config", [MOBILE, STYLEGAN2], ids=lambda c: c["architecture"])
def test_a_build_is_saved_and_restored_exactly(tools, tmp_path: Path, config: dict):
    networks = trained(config)
    tools.state.save(tmp_path, "finished", notes(config), networks)
    build = tools.state.load(tmp_path, "finished")
    assert build.notes == notes(config)
    for role, network in networks.items():
        assert_same(build.parts[role], network.state_dict())
    assert tools.state.load(tmp_path, "distilled") is None


def test_states_of_the_first_builds_are_still_read(tools, tmp_path: Path):
    """They have no notes in the file and, distilled, bare names."""
    networks = trained(MOBILE)
    save_file(
        {k: v.contiguous() for k, v in networks["G"].state_dict().items()}, tmp_path / "distilled.safetensors"
    )
    (tmp_path / "distilled.json").write_text(tools.state.json.dumps({"generator": MOBILE, "step": 3}))
    stage, build = tools.state.newest(tmp_path)
    assert (stage, build.step) == ("distilled", 3)
    assert_same(build.parts["E"], networks["G"].state_dict())


def test_a_packed_state_goes_on_elsewhere_in_half_precision(tools, tmp_path: Path):
    networks = trained(STYLEGAN2)
    tools.state.save(tmp_path / "here", "finished", notes(STYLEGAN2), networks)
    tools.state.pack(tmp_path / "here", tmp_path / "packed.safetensors")
    assert tools.state.unpack(tmp_path / "packed.safetensors", tmp_path / "there") == "finished"
    build = tools.state.load(tmp_path / "there", "finished")
    assert build.notes == notes(STYLEGAN2)
    for role, network in networks.items():
        assert_same(build.parts[role], as_halves(network))


def test_what_the_teacher_source_gives_is_not_packed(tools, tmp_path: Path):
    networks = trained(STYLEGAN2)
    teacher = build_generator(MOBILE)
    teacher.mapping.load_state_dict(networks["G"].mapping.state_dict())
    save_source(tmp_path / "teacher.safetensors", Source("teacher", teacher), torch.float16)
    tools.state.save(tmp_path / "here", "distilled", notes(STYLEGAN2), networks)
    packed, base = tmp_path / "packed.safetensors", str(tmp_path / "teacher.safetensors")
    tools.state.pack(tmp_path / "here", packed, base)
    kept, _ = tools.state.tensorfile.read(packed)
    assert not [name for name in kept if ".mapping." in name]
    tools.state.unpack(packed, tmp_path / "there")
    assert_same(tools.state.load(tmp_path / "there", "distilled").parts["G"], as_halves(networks["G"]))
    teacher.mapping.w_avg.add_(1)
    save_source(tmp_path / "teacher.safetensors", Source("teacher", teacher), torch.float16)
    with pytest.raises(StylegraftError, match="another file"):
        tools.state.unpack(packed, tmp_path / "elsewhere")


def test_a_state_too_large_to_commit_is_refused(tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tools.state.save(tmp_path, "finished", notes(MOBILE), trained(MOBILE))
    monkeypatch.setattr(tools.state, "LIMIT", 1000)
    with pytest.raises(StylegraftError, match="--base"):
        tools.state.pack(tmp_path, tmp_path / "packed.safetensors")
    assert not (tmp_path / "packed.safetensors").exists()


def test_the_adversarial_stage_starts_from_a_distilled_stylegan2(tools, tmp_path: Path):
    networks = trained(STYLEGAN2)
    kept = {"generator": STYLEGAN2, "step": 500, "images": 8000, "recipe": {}}
    tools.state.save(tmp_path, "distilled", kept, {"G": networks["G"], "E": networks["E"]})
    raw, average, critic, _, start = tools.adversarial.restored(tmp_path)
    assert_same(raw.state_dict(), networks["G"].state_dict())
    assert_same(average.state_dict(), networks["E"].state_dict())
    assert critic.config["resolution"] == 16
    assert (start["step"], start["images"]) == (0, 0)


def test_the_adversarial_stage_goes_on_with_its_own_discriminator(tools, tmp_path: Path):
    networks = trained(MOBILE)
    tools.state.save(tmp_path, "distilled", notes(MOBILE), {"G": networks["E"]})
    tools.state.save(tmp_path, "finished", notes(MOBILE), networks)
    raw, _, critic, _, start = tools.adversarial.restored(tmp_path)
    assert_same(raw.state_dict(), networks["G"].state_dict())
    assert_same(critic.state_dict(), networks["D"].state_dict())
    assert (start["step"], start["images"]) == (7, 56)


def test_batches_depend_on_the_step_alone_and_cover_each_epoch(tools):
    batches = [tools.data.epoch_batches(20, 4, step) for step in range(10)]
    assert torch.equal(tools.data.epoch_batches(20, 4, 7), batches[7])
    for epoch in (batches[:5], batches[5:]):
        assert torch.cat(epoch).sort().values.tolist() == list(range(20))
    assert not torch.equal(torch.cat(batches[:5]), torch.cat(batches[5:]))


def linear_scene(tools, config: dict):
    """A generator, and pairs whose pixels are a linear map of three features of its last tap."""
    g = trained(config)["G"].requires_grad_(False)
    tap = f"b{g.synthesis.hidden[-1]}.conv0"
    w = torch.randn(8, 16)
    features = tools.distill.render(g, w, taps=(tap,)).taps[tap]
    chosen = features[:, [1, 4, 6]]
    return g, tap, tools.data.Pairs(w, to_uint8(chosen / chosen.abs().amax() * 0.9))


def test_the_head_writes_pixels_or_their_wavelet_bands(tools):
    images = torch.randn(2, 3, 16, 16)
    pixels, bands = (trained(config)["G"] for config in (PIXELS, MOBILE))
    assert tools.distill.head_targets(pixels, images) is images
    torch.testing.assert_close(tools.distill.head_targets(bands, images), haar(images))


def test_the_channels_that_tell_most_about_the_pixels_are_found(tools):
    g, tap, pairs = linear_scene(tools, PIXELS)
    sums = tools.distill.sums(g, pairs, tap, images=8, size=4)
    assert tools.distill.telling(*sums, 3).tolist() == [1, 4, 6]


def test_a_narrowed_last_block_still_draws_what_its_channels_tell(tools):
    g, _, pairs = linear_scene(tools, PIXELS)
    narrowed = tools.distill.narrow(g, pairs, 4, images=8)
    assert narrowed.config["channels"]["16"] == 4
    fitted = tools.distill.fit_head(narrowed, pairs, images=8)
    _, r2 = tools.distill.held_out(fitted, pairs, 8)
    assert r2 > 0.95  # the identity block adds a second leaky ReLU, which a linear head cannot undo in full


def test_half_a_batch_is_at_the_anchor_noise_and_half_is_not(tools):
    g = trained(MOBILE)["G"].requires_grad_(False)
    for name in g.noise_shapes:
        g.synthesis.get_parameter(f"{name}.noise_strength").fill_(0.5)
    w = torch.randn(4, 16)
    first, second = (
        tools.adversarial.half_anchored(g, w, torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    torch.testing.assert_close(first[:2], g(w=w[:2], noise="const").image)
    assert torch.equal(first[:2], second[:2])
    assert not torch.allclose(first[2:], second[2:])


def test_the_critic_sees_both_sets_moved_alike(tools):
    images = torch.rand(3, 3, 16, 16)
    a, b = tools.adversarial.moved((images, images), torch.Generator().manual_seed(0), 16)
    assert torch.equal(a, b)
    assert a.shape == images.shape
    assert not torch.equal(a, images)
    (crop,) = tools.adversarial.moved((images,), torch.Generator().manual_seed(0), 8)
    assert crop.shape == (3, 3, 8, 8)


def test_the_critics_lpips_is_lpips(tools, monkeypatch: pytest.MonkeyPatch):
    """Random weights; in full precision, so that the two can be compared."""
    torch.manual_seed(0)
    names = [layer for layer in LAYERS if layer]
    widths = dict(zip([n for n, _ in names], [3] + [c for _, c in names]))
    weights = {
        f"features.{n}.weight": torch.randn(c, widths[n], 3, 3) * (2 / 9 / widths[n]) ** 0.5 for n, c in names
    }
    weights |= {f"features.{n}.bias": torch.zeros(c) for n, c in names}
    weights |= {f"lin{i}": torch.rand(c) for i, c in enumerate(tools.critic.WIDTHS)}
    model = LPIPS("vgg", weights)
    monkeypatch.setattr(tools.critic, "quick", contextlib.nullcontext)
    a, b = torch.rand(2, 2, 3, 32, 32)
    found = tools.critic.paired(model, tools.critic.maps(model, a), tools.critic.maps(model, b))
    torch.testing.assert_close(found, model(a, b).mean())


def test_the_critic_learns_to_tell_two_sets_apart(tools):
    torch.manual_seed(0)
    critic = tools.critic.Critic()
    fake, real = ([torch.randn(4, c, 4, 4) + shift for c in tools.critic.WIDTHS] for shift in (0, 0.5))
    adam = torch.optim.Adam(critic.parameters(), lr=2e-3)
    errors = []
    for _ in range(30):
        error = critic.error(fake, real)
        tools.adversarial.advance(adam, error)
        errors.append(float(error.detach()))
    assert errors[-1] < 0.8 * errors[0]
    assert critic.fooled(fake) > critic.fooled(real)


@pytest.mark.parametrize("config", [MOBILE, STYLEGAN2], ids=lambda c: c["architecture"])
def test_noise_strengths_are_relative_to_what_the_layer_had_without_noise(tools, config: dict):
    """In the first layer nothing but its own noise differs, so the noiseless pass gives the same signal."""
    generator = trained(config)["G"].requires_grad_(False)
    layer = "b4.conv1"
    generator.synthesis.get_parameter(f"{layer}.noise_strength").fill_(0.7)
    generator.synthesis.get_parameter(f"{layer}.bias").fill_(0.3)
    z = torch.randn(3, 16)
    noisy = generator(z, noise="const", taps=(layer,)).taps[layer]
    found = tools.noise.before_noise(generator, layer, noisy)
    generator.synthesis.get_parameter(f"{layer}.noise_strength").zero_()
    generator.synthesis.get_parameter(f"{layer}.bias").zero_()
    clean = generator(z, noise="none", taps=(layer,)).taps[layer]
    clean = torch.where(clean >= 0, clean, clean / 0.2) / getattr(generator.synthesis.b4.conv1, "gain", 1.0)
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=1e-4)


def test_the_card_says_whether_the_bar_is_met(tools):
    kid = {"mean": 0.001, "spread": 0.0002}
    row = {"fid_floor": 10.0, "fid_far": 400.0, "kid_floor": kid}
    for mode, fid in (("random", 50.0), ("const", 20.0)):
        row |= {f"fid_{mode}": fid, f"kid_{mode}": kid, f"percent_of_far_{mode}": (fid - 10) / 4}
    draws = {"z": 4, "lpips_two_draws": 0.01, "lpips_anchor_draw": 0.02, "rms_two_draws": 0.03}
    result = {
        "bar_percent": 5.0,
        "torch": "2",
        "machine": "toy",
        "psi": {"0.85": {"count": 64, "vgg16": row}},
        "noise": {"source": {**draws, "layers": {"b4.conv1": {"strength": 0.1, "relative": 0.2}}}},
    }
    text = tools.card.card("toy", result, {"distilled": notes(MOBILE), "finished": notes(MOBILE)})
    assert "| random | 50.00 | 10.00 | 400.00 | 10.00 | **not met** |" in text
    assert "| anchor | 20.00 | 10.00 | 400.00 | 2.50 | met |" in text
    assert "non-commercial research only" in text
