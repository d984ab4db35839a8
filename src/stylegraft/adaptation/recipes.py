"""The table of methods: one row a paper, with its published settings and ours for 64 px and batch 4.

A method is `space x discriminator policy x (0-2 extra objective terms) x latent sampler x augmentation`;
none has its own training loop. What a row may say is in `fields`. `PAPER` holds what the papers ran, `SCALED`
what changes on small networks (`_SMALL` where it has no row); `recipe()` resolves one. No torch is imported here, so
`stylegraft recipes` answers at once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from stylegraft.adaptation.checks import check
from stylegraft.adaptation.fields import FIXED, Recipe, change
from stylegraft.adaptation.notes import LEFT_OUT, NOTES
from stylegraft.errors import StylegraftError, nearest

__all__ = [
    "FIXED",
    "LEFT_OUT",
    "NOTES",
    "PAPER",
    "SCALED",
    "Recipe",
    "change",
    "changed",
    "check",
    "fit",
    "recipe",
]  # fmt: skip

_GUIDED: dict[str, Any] = dict(
    space="stylespace-conv", adv=0.0, r1_gamma=0.0, pl_weight=0.0, ema_kimg=0.0, beta1=0.9, beta2=0.999,
)  # fmt: skip
_DIFA: dict[str, Any] = _GUIDED | dict(mixing=0.0)
_HDN: dict[str, Any] = _GUIDED | dict(space="hdn")
PAPER: dict[str, Recipe] = {
    # 10-shot FFHQ -> Babies / Sketches, 256 px (DCL's project page):
    # FID 104.79 / 53.42, intra-LPIPS .517 / .394
    "tgan": Recipe(
        "tgan", "Wang et al., Transferring GANs: generating images from limited data, ECCV 2018",
        steps=3000,
    ),
    # FID 102.58 / 66.99, intra-LPIPS .519 / .414, there with ada_kimg 500 at batch 4: p stays below .03
    "ada": Recipe(
        "ada", "Karras et al., Training Generative Adversarial Networks with Limited Data, NeurIPS 2020",
        steps=390_625, batch=64, mbstd=8,  # cfg paper256, 25,000 kimg
        lr=0.0025, lr_d=0.0025, r1_gamma=1.0, ema_kimg=20.0,
        augment="bgc", ada_kimg=100.0,  # 100 when fine-tuning, 500 from scratch
    ),
    # 100-shot, from scratch, 256 px: Obama / grumpy cat / panda FID 46.87 / 27.08 / 12.06 (from memory of the table).
    # Its settings for these were StyleGAN2's; the rest is the few-shot family's base.
    "diffaugment": Recipe(
        "diffaugment",
        "Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020",
        steps=3000, augment="diffaugment", ada_mode="fixed", ada_p=1.0,
    ),
    # Babies / Sunglasses / Sketches FID 110.92 / 51.29 / 46.54 (from memory of the table)
    "freezed": Recipe(
        "freezed", "Mo et al., Freeze the Discriminator: a Simple Baseline for Fine-Tuning GANs, CVPR-W 2020",
        steps=50_000, lr=0.001, lr_d=0.001, discriminator="upto-16",  # its last three blocks and the head
    ),
    # FFHQ -> MetFaces, 256 px, 1336 images; no numbers: the papers' tables were out of reach
    "fixnoise": Recipe(
        "fixnoise", "Lee et al., Fix the Noise: Disentangling Source Feature for [...] Translation, CVPR 2023",
        steps=31_250, batch=64, mbstd=8,  # cfg paper256, 2,000 kimg
        lr=0.0025, lr_d=0.0025, r1_gamma=1.0, ema_kimg=20.0,
        augment="bgc", ada_kimg=100.0, fm=0.05,
    ),
    # Two of three papers' baselines; no numbers of its own on faces
    "l2sp": Recipe(
        "l2sp", "Li et al., Explicit Inductive Bias for Transfer Learning with Convolutional Networks, ICML 2018",
        steps=3000, l2sp=1.0,
    ),
    # FID 87.41 / 71.25, intra-LPIPS .523 / .421, copied from the paper: its code was never published
    "ewc": Recipe(
        "ewc", "Li et al., Few-shot Image Generation with Elastic Weight Consolidation, NeurIPS 2020",
        steps=3000, ewc=5e8, drift=0.0, importance_samples=2000,
    ),
    # a community trick for several hundred images; no numbers
    "freezeg": Recipe(
        "freezeg", "Lee, FreezeG: Freezing generator for pseudo image translation, 2020 (code)",
        space="late@128", steps=1000, batch=8, augment="bgc", pl_weight=0.0,  # its two highest resolutions
    ),
    # FID 140.34 / 69.32, intra-LPIPS .505 / .353. Settings: the released code's for its SNGAN, whose rates fall to a
    # fifth every 3000 steps. VGG: 0.001 on pixels of 0 to 255, ours have unit deviation (255 * 0.225).
    "bsa": Recipe(
        "bsa", "Noguchi and Harada, Image Generation From Small Datasets via Batch Statistics Adaptation, ICCV 2019",
        space="scale-shift", steps=10_000, batch=25, lr=0.003, ema_kimg=0.0,  # 0.03 on factors and shifts
        adv=0.0, r1_gamma=0.0, pl_weight=0.0, xflip=False,
        bsa_pixel=1.0, bsa_vgg=0.057, bsa_emd=0.1, bsa_decay=0.02, bsa_lr=0.03,
    ),
    # FID 98.23 / 64.34, intra-LPIPS .514 / .405
    "minegan": Recipe(
        "minegan", "Wang et al., MineGAN: effective knowledge transfer from GANs to target domains [...], CVPR 2020",
        space="miner + full", steps=3000, lead=1000, lead_space="miner",
    ),
    # 5- to 100-shot at 1024 px; FIDs of its own protocol
    "fsgan": Recipe(
        "fsgan", "Robb et al., Few-Shot Adaptation of Generative Adversarial Networks, 2020",
        space="singular-values", discriminator="singular(all)", steps=1875, batch=16,  # 30 kimg
        lr=0.0001, lr_d=0.0001,  # 0.002 on singular values, by SPACE_LR
    ),
    # FID 48.83 (Babies), 28.03 (Sunglasses), 58.07 (AFHQ-Cat)
    "adam": Recipe(
        "adam", "Zhao et al., Few-shot Image Generation via Adaptation-Aware Kernel Modulation, NeurIPS 2022",
        space="adam", discriminator="rank1(b*.conv*, b*.skip) + b*.conv*, b*.skip + head",
        steps=2000, lead=500, lead_space="rank1", lead_judge="rank1, head", lead_reset=True,
        partition="conv, affine", partition_judge="b*.conv*, b*.skip", freeze_above=50.0, importance_samples=1000,
    ),
    # FID 39.39 (Babies), 25.22 (Sunglasses), 53.27 (AFHQ-Cat)
    "rick": Recipe(
        "rick", "Zhao et al., Exploring Incompatible Knowledge Transfer in Few-shot Image Generation, CVPR 2023",
        steps=1750, batch=2, mbstd=2, warmup=250, warmup_judge="head",
        partition="conv", partition_judge="b*.conv*, b*.skip", partition_every=50,
        freeze_above=40.0, prune_below=0.1, importance_samples=5,
    ),
    # no numbers: a pipeline for translation
    "ui2i": Recipe(
        "ui2i", "Huang et al., Unsupervised Image-to-Image Translation via Pre-trained StyleGAN2 Network, 2020",
        space="synthesis + affine", steps=3000, pl_weight=0.0, swap=32,  # its first three resolutions stay
    ),
    # FID 52.56 / 37.90, intra-LPIPS .582 / .486
    "dcl": Recipe(
        "dcl", "Zhao et al., A Closer Look at Few-shot Image Generation, CVPR 2022 (our reading)",
        steps=1500, cl1=2.0, cl2=0.5, tau=0.07, cdc=True,
    ),
    # FID 74.39 / 45.67, intra-LPIPS .573 / .453
    "cdc": Recipe(
        "cdc", "Ojha et al., Few-shot Image Generation via Cross-domain Correspondence, CVPR 2021",
        steps=5000, dist=1000 / 3, cdc=True,
    ),
    # 5- and 10-shot; inception score and overlap of edges, no FID
    "rssa": Recipe(
        "rssa", "Xiao et al., Few Shot Generative Model Adaption via Relaxed Spatial Structural Alignment, CVPR 2022",
        steps=1500, self_corr=0.8, cross_corr=0.4, cross_every=6, cdc=True,
    ),
    # no numbers: the paper's tables were out of reach
    "maskedd": Recipe(
        "maskedd", "Zhu et al., Few-shot Image Generation via Masked Discrimination, 2022 (our reading)",
        steps=3000, mask=0.75, dist=2500 / 3, dist_d=2500 / 3, cdc=True,
    ),
    # no numbers; hundreds of images
    "freezesg": Recipe(
        "freezesg", "Back, Fine-Tuning StyleGAN2 For Cartoon Face Generation, 2021",
        space="late@32",  # the first four convolutions after 4 px are frozen
        steps=3000, batch=8, augment="bgc", discriminator="upto-16", structure=1.0, structure_levels=3,
    ),
    # no numbers; from memory of cfg auto at 256 px on one GPU, 400 kimg
    "weditgan": Recipe(
        "weditgan", "Duan et al., WeditGAN: Few-Shot Image Generation via Latent Space Relocation, AAAI 2024",
        space="w-offset@res", steps=25_000, batch=16,
        lr=0.0005, lr_d=0.0025, r1_gamma=0.82, ema_kimg=5.0, augment="bgc", ada_kimg=100.0,  # 0.0025 on offsets
    ),
    # StyleDomain's similar domains; these five have its settings (1024 px): no game, no average, Adam by OWN_LR, and
    # offsets of convolutions alone.
    # Quality / Diversity in StyleSpace, Botero and Sketch by text: .309/.230, .193/.306, there with indomain 0.25, a
    # term that NADA's paper does not have and that asks for two images at once.
    "nada": Recipe(
        "nada", "Gal et al., StyleGAN-NADA: CLIP-Guided Domain Adaptation of Image Generators, ACM TOG 2022",
        steps=250, **_GUIDED, direction=1.0, source_samples=16,
    ),
    # In `full`, Titan Erwin and Disney: .607/.269, .509/.234
    "mtg": Recipe(
        "mtg", "Zhu et al., Mind the Gap: Domain Gap Control for Single Shot Domain Adaptation [...], ICLR 2022",
        steps=250, lr_warmup=25, **_GUIDED,
        direction=1.0, direction_from="inverse", within=0.5, ref_clip=30.0, ref_l2=10.0, ref_lpips=10.0,
    ),
    # .572/.292, .591/.260
    "jojogan": Recipe(
        "jojogan", "Chong and Forsyth, JoJoGAN: One Shot Face Stylization, ECCV 2022",
        steps=250, lr_warmup=20, **_GUIDED, jojo=1.0,
    ),
    # .719/.226, .699/.263; in StyleSpace .672/.296, .627/.308
    "difa": Recipe(
        "difa", "Zhang et al., Towards Diverse and Faithful One-shot Adaption of Generative [...], NeurIPS 2022",
        steps=301, batch=2, lr_warmup=30, **_DIFA,
        direction=1.0, attentive=1.0, scc=6.0,
    ),
    # DiFa's losses in this space .705/.250, .625/.294
    "hdn": Recipe(
        "hdn", "Alanov et al., HyperDomainNet: Universal Domain Adaptation for [...], NeurIPS 2022",
        steps=300, **_HDN, direction=1.0, source_samples=16, indomain=0.25,
    ),
    # no numbers of the paper's table were at hand; its space is `hdn`, and a sample has a sentence of its own
    "hypernet": Recipe(
        "hypernet", "Alanov et al., HyperDomainNet: Universal Domain Adaptation for [...], NeurIPS 2022",
        steps=10_000, batch=2, lr=5e-5, **_GUIDED, direction=1.0, domains=4, tt_direction=0.4,
    ),
}  # fmt: skip

# What changes below 256 px at batch 4 on a CPU, found by looking at runs on faces-64 (benchmarks/results/
# recipes-64.md). G's rate: at the papers' 0.002 (0.008 in affine-light+) ten pencil drawings gave caricatures within
# 300 steps. Warm-up: without it, an untrained patch exit and a discriminator that has never seen the target teach G
# a grid of dots. EMA: a half life of 50 steps; the papers' 1.25 kimg is 312 steps, so that a short run would show a
# model that is half source. R1: 10 * (64 / 256)^2, rounded up. ADA: 5 kimg lets p reach 0.4 in 500 steps and its cap
# in 1,000; the papers' 100 kimg would give 0.02 there.
_SMALL: dict[str, Any] = dict(
    steps=300,
    batch=4,
    mbstd=4,
    lr=0.0005,
    lr_d=0.002,
    r1_gamma=1.0,
    ema_kimg=0.2,
    warmup=100,
    warmup_scratch=300,
)
GAINS = "hdn-before"  # the gain before demodulation, which every source has
SCALED: dict[str, dict[str, Any]] = {
    "ada":      _SMALL | dict(steps=800, ada_kimg=5.0),
    "fixnoise": _SMALL | dict(steps=800, ada_kimg=5.0),
    "ewc":      _SMALL | dict(ewc=1.0, drift=0.02, importance_samples=200),
    "freezeg":  _SMALL | dict(ada_kimg=5.0, space="late@16"),
    # Not _SMALL, whose rates are a game's: nothing answers G here, so that it may go twice as fast.
    "bsa":      dict(steps=300, batch=4, lr=0.001, ema_kimg=0.2, bsa_emd=0.001, bsa_lr=0.003),
    "minegan":  _SMALL | dict(steps=400, lead=100),
    "adam":     _SMALL | dict(steps=400, lead=100, importance_samples=50),
    "rick":     _SMALL | dict(steps=600, mbstd=2, batch=2),
    "ui2i":     _SMALL | dict(swap=16),
    "freezesg": _SMALL | dict(ada_kimg=5.0, space="late@16", structure_levels=2),
    "weditgan": _SMALL | dict(steps=500, ada_kimg=5.0),
    # The global term, for by the direction alone sprig left faces photographs; channel gains, for offsets took on the
    # tint and no lines (docs/one-shot.md). DiFa's consistency at 6 held photographs. Pictures are inverted by the
    # source's encoder and a step: a descent of 100 came to the drawing itself, and left no gap to learn.
    "nada":     dict(steps=150, lr=0.0012, near=3.0, source_samples=200, space=GAINS),
    "mtg":      dict(steps=120, lr=0.0012, lr_warmup=10, invert_steps=1, space=GAINS),
    # Four rows, here and in difa: of the 14 of faces-64 those of 4 and 8 px, all in one level of its inversion encoder.
    # The papers' 7 of 18 at 1024 are those up to 32 px.
    "jojogan":  dict(steps=120, lr=0.0012, invert_steps=1, jojo_rows=4, space=GAINS),
    "difa":     dict(
        steps=120, batch=4, lr=0.0025, lr_warmup=10, near=3.0, scc=2.0, scc_rows=4, scc_window=20, scc_full=120,
        source_samples=200, space=GAINS,
    ),
    "hdn":      dict(steps=150, lr=0.0006, near=3.0, source_samples=200, space=GAINS),
    # Of 57 sentences, tints had come after 200 steps, styles after 300 (docs/methods/hypernet.md).
    "hypernet": dict(steps=400, lr=0.0003, near=3.0, width=256, depth=2, ema_kimg=0.1, space="stylespace"),
}  # fmt: skip

# Where the judge is not the source's: all of it learns, held to nothing, for freezing would keep its random layers.
NEW_JUDGE: dict[str, Any] = dict(
    discriminator="all", warmup_judge="", lead_judge="", partition_judge="", dist_d=0.0
)

# With the projected judge: its heads are bounded by spectral normalisation, so no R1; every logit is a patch's already,
# so no patch exit; it sees from the first step on, so no warm-up. MaskedD's masks and source need a D of StyleGAN2.
PROJECTED: dict[str, Any] = NEW_JUDGE | dict(
    judge="projected",
    r1_gamma=0.0,
    cdc=False,
    warmup=0,
    warmup_scratch=0,
    mask=0.0,
    cl_latents="free",
)


def recipe(name: str, *, preset: str = "scaled", **changes: Any) -> Recipe:
    """Resolve a row of the table: `preset` "paper" or "scaled", then `changes` to single fields.

    Raises StylegraftError for an unknown method, preset or field (naming the nearest), or a wrong value.
    """
    if name in LEFT_OUT:
        raise StylegraftError(f"recipe {name!r} is left out: {LEFT_OUT[name]}; there are {', '.join(PAPER)}")
    if name not in PAPER:
        raise StylegraftError(f"no recipe {name!r}{nearest(name, PAPER)}; there are {', '.join(PAPER)}")
    if preset not in ("paper", "scaled"):
        raise StylegraftError(f"no preset {preset!r}; there are paper, scaled")
    row = PAPER[name]
    if preset == "scaled":
        row = dataclasses.replace(row, preset="scaled", **SCALED.get(name, _SMALL))
    if changes.get("judge") == "projected":
        row = dataclasses.replace(row, **PROJECTED, **new_rate(row))
    return check(change(row, changes), said=changes)


def preset_of(resolution: int) -> str:
    """The preset where none is asked for: the papers' own from 256 px on, ours below."""
    return "paper" if resolution >= 256 else "scaled"


def fit(row: Recipe, images: int, judged: bool) -> Recipe:
    """Settle what the training set and the source decide: `images` is its size, `judged` whether the source
    brings a discriminator.

    CDC's anchors are as many as images unless the recipe says so. A discriminator of random weights needs a
    warm-up, and all of it learns (`NEW_JUDGE`). Raises StylegraftError for EWC and JoJoGAN without the
    source's discriminator.
    """
    if row.cdc and not row.anchors:
        row = dataclasses.replace(row, anchors=images)
    if row.ewc and not judged:
        raise StylegraftError(
            f"recipe {row.name}: EWC asks the source's own discriminator what matters, and this source has none;"
            " expected a source with one, or the recipe l2sp"
        )
    if row.jojo and not judged:
        raise StylegraftError(
            f"recipe {row.name}: JoJoGAN compares in the source's own discriminator, and this source has none; expected"
            " a source with one, or the recipe mtg or difa"
        )
    if judged or row.judge == "projected" or not row.adv:
        return row
    return dataclasses.replace(row, **NEW_JUDGE, **new_rate(row), warmup=max(row.warmup, row.warmup_scratch))


def new_rate(row: Recipe) -> dict[str, Any]:
    """The change of `lr_d` for a judge that is not the source's, beside `NEW_JUDGE`: the shared base's, where the
    paper's is meant for deltas of the source's D (fsgan: a twentieth). What the user has set stays.
    """
    table = PAPER.get(row.name)
    return {"lr_d": Recipe.lr_d} if table and "(" in table.discriminator and row.lr_d == table.lr_d else {}


def changed(row: Recipe) -> dict[str, Any]:
    """The fields of `row` that differ from its row of the table: what to write down beside name and preset."""
    table = recipe(row.name, preset=row.preset) if row.name in PAPER else Recipe(row.name, row.paper)
    fields = (field.name for field in dataclasses.fields(Recipe) if field.name not in (*FIXED, "steps"))
    return {field: getattr(row, field) for field in fields if getattr(row, field) != getattr(table, field)}
