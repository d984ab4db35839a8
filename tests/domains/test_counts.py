"""The spaces are the paper's: exact parameter counts, on the meta device.

StyleDomain (Alanov et al., ICCV 2023, table 1) quotes them rounded and for 512 px; the exact numbers follow from the
layer widths min(channel_base / r, 512), with and without toRGB as the rows of SPACES say.
"""

from __future__ import annotations

import functools

import pytest
import torch

from stylegraft.domains import SPACES, canonical, count, default_block, resolve
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, build_generator

COLUMNS = {"1024": (1024, 32768), "512": (512, 32768), "256": (256, 32768), "paper256": (256, 16384)}

# space            1024 config-f  512 config-f  256 config-f  256 paper256
COUNTS = {
    "full":          (30_370_060, 30_276_583, 30_034_338, 24_767_458),
    "synthesis":     (23_598_476, 23_570_663, 23_459_746, 18_849_506),
    "affine":        (4_662_144, 4_596_480, 4_465_152, 3_808_512),
    "mapping":       (2_101_248, 2_101_248, 2_101_248, 2_101_248),
    "affine+":       (5_187_968, 5_122_304, 4_990_976, 4_005_888),
    "affine-light+": (637_824, 629_504, 620_544, 285_696),
    "stylespace":    (9_088, 8_960, 8_704, 7_424),
    "stylespace-conv":   (6_048, 5_952, 5_760, 4_928),
    "stylespace-sparse": (6_048, 5_952, 5_760, 4_928),  # before pruning
    "style+":            (534_912, 534_784, 534_528, 204_800),
    "style-mult":        (9_088, 8_960, 8_704, 7_424),
    "style-linear":      (18_176, 17_920, 17_408, 14_848),
    "hdn":               (6_048, 5_952, 5_760, 4_928),
    "hdn-before":        (6_048, 5_952, 5_760, 4_928),
    # Ours from here on: StyleDomain has no count of these.
    "w-offset":          (18 * 512, 16 * 512, 14 * 512, 14 * 512),
    "miner":             (512 * 513, 512 * 513, 512 * 513, 512 * 513),
    "w-offset@res":      (9 * 512, 8 * 512, 7 * 512, 7 * 512),
    "scale-shift":       (14_683, 14_488, 14_101, 11_925),
    "singular-values":   (18_779, 18_584, 18_197, 16_021),
    "rank-1":            (97_056, 94_272, 90_240, 78_400),
    "adam":              (24_171_318, 24_091_696, 23_878_698, 18_832_426),
    "late":              (8_846_585, 8_753_108, 8_510_863, 3_243_983),
}  # fmt: skip

# Extra kernel numbers of one block of the plus-spaces at 1024.
BLOCKS = {
    4: 263_680,
    8: 525_824,
    16: 525_824,
    32: 525_824,
    64: 525_824,
    128: 197_376,
    256: 49_536,
    512: 12_480,
    1024: 3_168,
}


@functools.cache
def paper_network(column: str) -> Generator:
    resolution, channel_base = COLUMNS[column]
    with torch.device("meta"):
        return build_generator(
            {
                "architecture": "stylegan2",
                "resolution": resolution,
                "img_channels": 3,
                "z_dim": 512,
                "w_dim": 512,
                "c_dim": 0,
                "channel_base": channel_base,
                "channel_max": 512,
                "mapping_layers": 8,
            }
        )


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("space", COUNTS)
def test_a_space_has_as_many_parameters_as_in_the_table(space: str, column: str) -> None:
    assert count(space, paper_network(column)) == COUNTS[space][list(COLUMNS).index(column)]


def test_every_space_has_a_row_in_the_table_of_counts() -> None:
    assert set(COUNTS) == set(SPACES)


@pytest.mark.parametrize(
    ("column", "conv_biases", "conv_affines"),
    [
        ("1024", 6048, 3_102_624),
        ("512", 5952, 3_053_376),
        ("256", 5760, 2_954_880),
        ("paper256", 4928, 2_528_064),
    ],
)
def test_the_conv_only_sizes_quoted_by_the_paper_are_in_the_groups(
    column: str, conv_biases: int, conv_affines: int
) -> None:
    network = paper_network(column)
    parameters = dict(network.named_parameters())
    names = [name for group, names in network.groups.items() if group.endswith("/conv") for name in names]
    assert sum(parameters[name].numel() for name in names if name.endswith(".bias")) == conv_biases
    assert sum(parameters[name].numel() for name in names) == conv_affines


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_of_affine_plus_can_be_any_resolution(block: int) -> None:
    network = paper_network("1024")
    for plus, without in (
        ("affine+", "affine"),
        ("style+", "stylespace"),
        ("affine-light+", "lowrank:5(affine)"),
    ):
        assert count(f"{plus}@{block}", network) - count(without, network) == BLOCKS[block]


@pytest.mark.parametrize("column", COLUMNS)
def test_low_rank_affine_layers_have_rank_times_the_sum_of_their_sides(column: str) -> None:
    network = paper_network(column)
    for rank in (1, 5, 20):
        expected = sum(rank * (512 + layer.channels) for layer in network.layers)
        assert count(f"lowrank:{rank}(affine)", network) == expected
        block = count("affine+", network) - count("affine", network)
        assert count(f"affine-light+:{rank}", network) == expected + block


@pytest.mark.parametrize(
    ("resolution", "block"), [(1024, 64), (256, 64), (128, 64), (64, 32), (32, 16), (16, 8)]
)
def test_the_default_block_is_64_px_or_the_second_highest_resolution(resolution: int, block: int) -> None:
    with torch.device("meta"):
        network = build_generator(
            {
                "architecture": "stylegan2",
                "resolution": resolution,
                "channel_base": 8192,
                "channel_max": 8,
                "w_dim": 8,
                "z_dim": 8,
            }
        )
    assert default_block(network) == block
    boxes = [name for name, (spec,) in resolve("affine+", network).items() if spec.form == "box"]
    assert canonical("affine+", network) == f"affine+@{block}"
    assert boxes == [f"synthesis.b{block}.{layer}.weight" for layer in ("conv0", "conv1", "torgb")]


def test_a_block_that_the_network_lacks_is_refused_with_the_ones_it_has() -> None:
    with pytest.raises(StylegraftError, match=r"no block of 48 px; it has 4, 8, .*1024"):
        resolve("affine+@48", paper_network("1024"))


def test_an_unknown_space_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StylegraftError, match="did you mean 'stylespace'"):
        resolve("style-space", paper_network("1024"))


@pytest.mark.parametrize("last", [32, 64], ids=["wavelet head", "pixel head, as faces-64"])
def test_spaces_map_onto_mobilestylegan_by_group(last: int) -> None:
    """The block is 32; box on pointwise kernels and toRGB where it is there, never on depthwise ones."""
    widths = {str(r): 512 for r in (4, 8, 16, 32)} | {str(last): 512 if last == 32 else 64}
    with torch.device("meta"):
        network = build_generator({"architecture": "mobile", "resolution": 64, "img_channels": 3, "channels": widths,
                                   "z_dim": 512, "w_dim": 512, "c_dim": 0})  # fmt: skip
    assert default_block(network) == 32
    forms = resolve("affine-light+", network)
    boxes = {name for name, (spec,) in forms.items() if spec.form == "box"}
    head = {"synthesis.b32.torgb.weight"} if last == 32 else set()
    assert boxes == {"synthesis.b32.conv0.pointwise", "synthesis.b32.conv1.pointwise"} | head
    lowrank = {name for name, (spec,) in forms.items() if spec.form == "lowrank"}
    assert lowrank == {f"synthesis.{layer.name}.affine.weight" for layer in network.layers}
    channels = sum(layer.channels for layer in network.layers)
    assert count("stylespace", network) == channels
    box_numbers = 512 * 128 + 512 * 512 + (12 * 512 if head else 0)
    assert count("affine-light+", network) == 5 * (512 * len(network.layers) + channels) + box_numbers
    assert count("affine+", network) == 513 * channels + box_numbers
    synthesis = set(resolve("synthesis", network))
    assert "synthesis.b8.conv0.depthwise" in synthesis
    assert "synthesis.b8.conv0.noise_strength" in synthesis
    assert not any(".affine." in name or name.endswith(".const") for name in synthesis)
    assert count("full", network) == sum(p.numel() for p in network.parameters())
