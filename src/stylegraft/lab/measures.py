"""The table of what `evaluate` measures, and what each metric needs.

A metric is a function of the `Bench` that gives rows. Where something that it needs is not there, its row has no value
and says why; nothing else is measured in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from stylegraft.adaptation.previews import render
from stylegraft.adaptation.sight import fit_sight, some
from stylegraft.data.pixels import to_uint8
from stylegraft.domains.paths import noise_path, of_latents
from stylegraft.encoders.guides import encode_texts
from stylegraft.encoders.protocol import Encoder, TextEncoder
from stylegraft.encoders.table import GUIDES
from stylegraft.errors import StylegraftError
from stylegraft.lab.bench import Bench, Measured
from stylegraft.lab.panel import FULL_SIZE, PROBED, SIZE, real_part
from stylegraft.metrics.correspondence import correspondence
from stylegraft.metrics.coverage import prdc
from stylegraft.metrics.degree import degree
from stylegraft.metrics.diversity import At, Distance, Resized, intra_lpips
from stylegraft.metrics.extrapolation import fid_infinity
from stylegraft.metrics.features import features
from stylegraft.metrics.frechet import fid
from stylegraft.metrics.kernel import FEWEST, kid, too_few
from stylegraft.metrics.memorisation import memorisation
from stylegraft.metrics.path_length import path_length
from stylegraft.metrics.similarity import similarity

BLENDED = 50  # latents of the degree curve, at most
NEIGHBOUR = 5  # k of precision and its kin
SHOTLESS = "needs the training images: --shots FOLDER"
READERS = f"expected --encoder {' or '.join(GUIDES)}"


@dataclass(frozen=True)
class Metric:
    """about: a phrase; needs: keys of `lacking`; measure: (bench) -> rows, or if `each` (bench, encoder) -> rows.

    waived: needs that are waived where the user asked for the metric by name.
    """

    about: str
    needs: tuple[str, ...]
    measure: Callable[..., list[Measured]]
    each: bool = False
    waived: tuple[str, ...] = ()


def measure(bench: Bench, name: str, *, asked: bool = False) -> list[Measured]:
    """The rows of one metric of METRICS. asked: the user named it."""
    if why := cannot(bench, name, asked=asked):
        return [Measured(name, None, note=why)]
    metric = METRICS[name]
    rows: list[Measured] = []
    for encoder in bench.encoders if metric.each else (None,):
        try:
            rows += metric.measure(bench, encoder) if encoder else metric.measure(bench)
        except StylegraftError as error:
            rows.append(Measured(f"{name}-{encoder.name}" if encoder else name, None, note=str(error)))
    return rows


def cannot(bench: Bench, name: str, *, asked: bool = False) -> str:
    """Why a metric has no value here, as far as can be told before anything is drawn; empty where it may have one."""
    metric, absent = METRICS[name], lacking(bench)
    needs = ("encoder", *metric.needs) if metric.each else metric.needs
    waived = metric.waived if asked else ()
    return next((absent[need] for need in needs if need in absent and need not in waived), "")


def lacking(bench: Bench) -> dict[str, str]:
    """What is not there, and how to say so."""
    real, shots, side = len(bench.reference), bench.shots, bench.target.resolution
    table = {
        "encoder": (not bench.encoders, bench.blind),
        "source": (bench.source is None, "compares a domain with its source; MODEL is a source itself"),
        "shots": (
            shots is None,
            f"needs training images, and {bench.text!r} has none" if bench.text else SHOTLESS,
        ),
        "wanted": (
            shots is None
            and not (bench.text and any(isinstance(encoder, TextEncoder) for encoder in bench.encoders)),
            f"no encoder reads {bench.text!r}; {READERS}" if bench.text else SHOTLESS,
        ),
        "clusters": (
            shots is not None and len(shots) < 2,
            "one training image makes one cluster; expected 2 or more",
        ),
        "lpips": (isinstance(bench.lpips, str), str(bench.lpips)),
        "16 px": (side < 16, f"images of {side} px; LPIPS takes 16 px or more"),
        "halves": (real < 4, f"{real} reference images; expected 4 or more"),
        "neighbours": (
            min(real, bench.count) <= NEIGHBOUR,
            f"{real} reference and {bench.count} generated images; expected more than {NEIGHBOUR} of both",
        ),
        "kid": (bool(too_few(real)), too_few(real)),
        "line": (bench.count < 40, f"{bench.count} generated images; a line takes 40 or more"),
        "fixnoise": (
            bench.recipe != "fixnoise",
            "noise is a control where fixnoise has made it one; --metrics degree measures it all the same",
        ),
    }
    return {name: why for name, (absent, why) in table.items() if absent}


def perceptual(bench: Bench) -> Distance:
    """LPIPS, of a metric that has said that it needs it."""
    assert not isinstance(bench.lpips, str)
    return bench.lpips


# By features, once for each encoder
# ------------------------------------------------------------------------------------------------------------


def _fid(bench: Bench, encoder: Encoder) -> list[Measured]:
    real, fake = bench.real(encoder), bench.fake(encoder)
    note = f"floor: halves of {len(real) // 2}"
    return [
        Measured(
            f"fid-{encoder.name}",
            fid(real, fake),
            None,
            len(fake),
            len(real),
            fid(*bench.halves(encoder)),
            note,
        )
    ]


def _fid_infinity(bench: Bench, encoder: Encoder) -> list[Measured]:
    real, fake = bench.real(encoder), bench.fake(encoder)
    found = fid_infinity(real, fake, seed=bench.seed)
    more = {"slope": found.slope, "sizes": list(found.sizes), "values": list(found.values)}
    short = found.sizes[0] <= fake.shape[1]
    note = f"sizes from {found.sizes[0]} for {fake.shape[1]} features: hardly a line" if short else ""
    name = f"fid-infinity-{encoder.name}"
    return [Measured(name, found.value, found.error, len(fake), len(real), None, note, more)]


def _kid(bench: Bench, encoder: Encoder) -> list[Measured]:
    real, fake = bench.real(encoder), bench.fake(encoder)
    first, second = bench.halves(encoder)
    found, floor = kid(fake, real, seed=bench.seed), kid(first, second, seed=bench.seed)
    more = {"floor_spread": floor.spread}
    note = f"floor: halves of {len(real) // 2}; ± of one subset"
    note += f"; {len(fake)} generated images, fewer than {FEWEST}: a guess" if len(fake) < FEWEST else ""
    return [Measured(f"kid-{encoder.name}", *found, len(fake), len(real), floor.mean, note, more)]


def _prdc(bench: Bench, encoder: Encoder) -> list[Measured]:
    real, fake = bench.real(encoder), bench.fake(encoder)
    more = {"neighbours": NEIGHBOUR}
    return [
        Measured(f"{name}-{encoder.name}", value, None, len(fake), len(real), None, "", more)
        for name, value in prdc(real, fake, NEIGHBOUR)._asdict().items()
    ]


def _p_target(bench: Bench, encoder: Encoder) -> list[Measured]:
    assert bench.source is not None
    pool = some(bench.reference, PROBED, bench.seed, "evaluate.pool")
    source = bench.draw(bench.source, "evaluate.source", len(pool))
    sight = fit_sight(encoder, source, pool, bench.seed, "evaluate", learnt=False, device=bench.device)
    probe, fake = sight.probe, bench.fake(encoder)
    note = f"real {probe.p_real:.2f}, source {probe.p_source:.2f}, held-out accuracy {probe.accuracy:.2f}"
    return [Measured(probe.name, sight.p_target(fake), None, len(fake), len(pool), None, note, probe.anchors)]


def _similarity(bench: Bench, encoder: Encoder) -> list[Measured]:
    if bench.text and isinstance(encoder, TextEncoder):
        wanted, real = encode_texts(encoder, [bench.text], bench.templates), None
        note = f"cosine to {bench.text!r}"
    elif bench.shots is not None:
        wanted, real = features(encoder, bench.shots, device=bench.device), len(bench.shots)
        note = "cosine to the shots"
    else:
        raise StylegraftError(f"{encoder.name} reads no sentences; {READERS}")
    fake = bench.fake(encoder)
    found = similarity(fake, wanted.to(fake.device), encoder=encoder.name)
    return [
        Measured(f"quality-{encoder.name}", found.quality, None, len(fake), real, None, note),
        Measured(f"diversity-{encoder.name}", found.diversity, None, len(fake)),
    ]


# By LPIPS
# ------------------------------------------------------------------------------------------------------------


def _intra(bench: Bench) -> list[Measured]:
    assert bench.shots is not None
    found = intra_lpips(bench.images, bench.shots, At(perceptual(bench), FULL_SIZE), seed=bench.seed, batch=8)
    more = {"without_empty": found.without_empty, "clusters": list(found.sizes)}
    paired = (
        f"{found.without_empty:.3f} without those that have no pair" if max(found.sizes) > 1 else "no pairs"
    )
    note = f"clusters of {', '.join(map(str, found.sizes))}; {paired}"
    name = f"{found.name}/{found.count}"
    return [Measured(name, found.mean, found.spread, found.count, len(bench.shots), None, note, more)]


def _correspondence(bench: Bench) -> list[Measured]:
    found = correspondence(bench.source_images, bench.images, At(perceptual(bench), FULL_SIZE), batch=8)
    return [Measured(found.name, found.mean, found.spread, found.count)]


def _memorised(bench: Bench) -> list[Measured]:
    assert bench.shots is not None
    real = real_part(bench.reference, bench.seed)
    found = memorisation(bench.images, bench.shots, real, Resized(perceptual(bench), SIZE))
    bench.copies = found
    more = {"threshold": found.threshold, "mean": found.mean, "median": found.median}
    pairs = f"share nearer than {found.threshold:.3f} to a shot, as 1 % of pairs of real images are"
    pairs += f"; median {found.median:.3f}"
    nearer = f"share nearer than {found.threshold_nearest:.3f}, as 1 % of real images are to their nearest other one"
    return [
        Measured(found.name, found.share, None, found.count, len(real), None, pairs, more),
        Measured(
            f"{found.name}-nearest", found.share_nearest, None, found.count, len(real), None, nearer,
            {"threshold": found.threshold_nearest},
        ),
    ]  # fmt: skip


def _path_length(bench: Bench) -> list[Measured]:
    lpips = perceptual(bench)
    found = path_length(bench.target, lpips, count=bench.few, seed=bench.seed, device=bench.device)
    more = {"kept": found.kept}
    return [
        Measured(found.name, found.mean, found.error, found.count, None, None, "whole images, psi 1", more)
    ]


def _degree(bench: Bench) -> list[Measured]:
    assert bench.source is not None
    count = min(BLENDED, bench.few)
    z = bench.z("evaluate", count)

    def path() -> Iterator[tuple[float, Tensor]]:
        for amount, images in noise_path(bench.target, of_latents(z), seed=bench.seed):
            bench.strip.append(to_uint8(images[:4]).cpu())
            yield amount, images

    found = bench.curve = degree(render(bench.source, z, psi=1.0), path(), Resized(perceptual(bench), SIZE))
    more = {"amounts": list(found.amounts), "distances": list(found.distances), "steps": list(found.steps)}
    note = f"to the source, at the anchor; {found.distances[-1]:.3f} at random noise"
    rising = "share of steps away from the source"
    even = "largest step / mean step" if max(found.steps) > 0 else "noise moves nothing"
    smoothness = found.smoothness if max(found.steps) > 0 else None
    return [
        Measured(found.name, found.distances[0], None, count, None, None, note, more),
        Measured(f"{found.name}-rising", found.rising, None, count, None, None, rising),
        Measured(f"{found.name}-spearman", found.spearman, None, count),
        Measured(f"{found.name}-smoothness", smoothness, None, count, None, None, even),
    ]


PERCEPTUAL = ("lpips", "16 px")
METRICS: dict[str, Metric] = {
    "fid": Metric("distance of the sets as Gaussians", ("halves",), _fid, each=True),
    "fid-infinity": Metric("the same at endlessly many images", ("halves", "line"), _fid_infinity, each=True),
    "kid": Metric("unbiased distance of the sets", ("kid",), _kid, each=True),
    "prdc": Metric("precision, recall, density, coverage", ("neighbours",), _prdc, each=True),
    "p_target": Metric("of the target rather than the source", ("source", "halves"), _p_target, each=True),
    "similarity": Metric(
        "cosines to the text or the shots, and to each other", ("wanted",), _similarity, each=True
    ),
    "intra-lpips": Metric("diversity around each shot", ("shots", "clusters", *PERCEPTUAL), _intra),
    "correspondence": Metric("distance to the source's image", ("source", *PERCEPTUAL), _correspondence),
    "memorised": Metric("share of near copies of the shots", ("shots", "halves", *PERCEPTUAL), _memorised),
    "ppl": Metric("perceptual path length", PERCEPTUAL, _path_length),
    "degree": Metric(
        "how evenly noise leads from the source to the target",
        ("source", "fixnoise", *PERCEPTUAL),
        _degree,
        waived=("fixnoise",),
    ),
}
