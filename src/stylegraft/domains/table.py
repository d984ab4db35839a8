"""The spaces as a table: which parameters move and how, each row in the notation of `domains.expression`.

Nothing here asks which architecture it is: groups are the protocol's (`Generator.groups`). `@R` stands for the
resolution of a space's block, `:N` for its rank; both can be given after the name, as in `affine-light+:8@32`. No torch
is imported here, so a mistyped name is refused at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """A named choice of parameters and forms.

    paper: where it comes from; StyleDomain's with its name and size there (512 px). rank: what `:N` is unless given;
    0: the space has none. keep: the share of the offsets that is kept at the end (`pruning.prune`). lacking: what to
    do on a network that lacks what the space moves.
    """

    summary: str
    paper: str
    moves: str
    rank: int = 0
    keep: float | None = None
    lacking: str = ""

    @property
    def needs_block(self) -> bool:
        """Whether the space depends on one resolution, so that `@R` means something."""
        return "@R" in self.moves


BLOCK = "box(conv@R.kernel) + box(torgb@R.kernel?)"  # `?`: where the network has one there
STYLEDOMAIN = "StyleDomain 2023"
HDN = "HyperDomainNet 2022"

SPACES: dict[str, Space] = {
    "full": Space("every parameter of the generator", f"{STYLEDOMAIN}: Full, 30.3M", "*"),
    "mapping": Space("the mapping network, with w_avg", f"{STYLEDOMAIN}: Mapping, 2.1M", "mapping"),
    "synthesis": Space(
        "convolutions, toRGB and noise strengths; no affine layers, no constant",
        f"{STYLEDOMAIN}: SyntConv, 23.6M",
        "conv + torgb + noise",
    ),
    "affine": Space("affine layers, weights and biases", f"{STYLEDOMAIN}: Affine, 4.6M", "affine"),
    "affine+": Space(
        "affine layers, and one number a channel pair in the kernels of one block",
        f"{STYLEDOMAIN}: Affine+, 5.1M",
        f"affine + {BLOCK}",
    ),
    "affine-light+": Space(
        "rank-5 affine weights (biases frozen), and the block of affine+",
        f"{STYLEDOMAIN}: AffineLight+, 0.6M",
        f"lowrank:N(affine.weight) + {BLOCK}",
        rank=5,
    ),
    "stylespace": Space(
        "one offset a style channel (the bias of every affine layer, toRGB included)",
        f"{STYLEDOMAIN}: StyleSpace, its few-shot half",
        "affine.bias",
    ),
    "stylespace-conv": Space(
        "one offset a style channel of the convolutions",
        f"{STYLEDOMAIN}: StyleSpace, 6.0K",
        "affine/conv.bias",
    ),
    "stylespace-sparse": Space(
        "stylespace-conv, of which the fifth with the largest magnitudes is kept",
        f"{STYLEDOMAIN}: StyleSpaceSparse, 1.2K",
        "affine/conv.bias",
        keep=0.2,
    ),
    "style+": Space(
        "style offsets, and the block of affine+", f"{STYLEDOMAIN}: the S+ space", f"affine.bias + {BLOCK}"
    ),
    "style-mult": Space(
        "one factor a style channel: s (1 + d)", f"{STYLEDOMAIN}: s_mod in its code", "scale(affine by layer)"
    ),
    "style-linear": Space(
        "a factor and an offset a style channel: s (1 + gamma) + shift",
        f"{STYLEDOMAIN}: s_linear in its code",
        "scale(affine by layer) + affine.bias",
    ),
    "hdn": Space(
        "one gain an input channel of every convolution, after demodulation",
        f"{HDN}: domain modulation, 6.0K",
        "gain",
        lacking="its kernels hold their demodulation, so that the gain after it is the one before: use hdn-before",
    ),
    "hdn-before": Space(
        "the same gain before demodulation: one factor a style channel of the convolutions",
        f"{HDN}: a second generator of StyleDomain's code",
        "scale(affine/conv by layer)",
    ),
    "w-offset": Space("one offset a row of W+", "w_delta in StyleDomain's code, there a layer", "offset by row"),
    "w-offset@res": Space(
        "one offset a resolution in W+", "WeditGAN 2024: a constant a resolution", "offset by resolution"
    ),
    "miner": Space("an affine map of z before the mapping", "MineGAN 2020, there with a hidden layer", "miner"),
    "scale-shift": Space(
        "a factor a channel that a convolution or toRGB reads, and their biases",
        "BSA 2019; the baseline of FSGAN",
        # On the side of the input: demodulation cancels a factor of an output channel.
        "scale-in(conv.kernel) + scale-in(torgb.kernel) + conv.bias + torgb.bias",
    ),
    "singular-values": Space(
        "singular values of every kernel that mixes channels, and of every matrix; biases frozen",
        "FSGAN 2020",
        "singular(conv.kernel) + singular(torgb) + singular(affine) + singular(mapping)",
    ),
    "rank-1": Space(
        "a rank-1 factor of convolution kernels and affine weights, and their biases",
        "AdAM 2022: its modulation",
        "rank1(conv.kernel) + rank1(affine.weight) + conv.bias + affine.bias",
    ),
    "adam": Space(
        "rank-1 factors everywhere, offsets of kernels and affine weights from 8 px on, biases",
        "AdAM 2022: modulated or tuned; masks choose",
        "rank1(mapping) + rank1(conv.kernel) + rank1(affine) + rank1(torgb)"
        " + conv@8...kernel + affine@8../conv.weight + affine@8../up.weight?"
        " + mapping.bias + conv.bias + affine.bias + torgb.bias",
    ),
    "late": Space("everything in the blocks from one resolution on", "FreezeG 2020", "*@R.."),
}  # fmt: skip
