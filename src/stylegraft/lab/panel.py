"""The panel: what a generator is measured by along a run, cheaply and always in the same way.

200 fixed latents without truncation and the network's own noise, at native size; LPIPS at no more than 64 px, and the
names say so (`intra-lpips-vgg@64/200`). What does not depend on the generator under measurement is made once: the
source's images, the probe of p_target (Zhao et al., CVPR 2022: `metrics.realism`), features of the reference.

Two panels of one source, shots, reference and settings draw the same latents: their numbers differ by the generator
alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation import rules
from stylegraft.adaptation.run import open_images
from stylegraft.adaptation.sight import Sight, draw, fit_sight, latents, some
from stylegraft.adaptation.state import State
from stylegraft.checkpoints import assets
from stylegraft.data.images import ImageSet, unlike
from stylegraft.data.pixels import to_uint8
from stylegraft.domains.apply import Adapted
from stylegraft.encoders import Encoder, load_encoder
from stylegraft.encoders.lpips import load_lpips
from stylegraft.errors import StylegraftError
from stylegraft.metrics.correspondence import correspondence
from stylegraft.metrics.diversity import At, Distance, IntraDistance, Resized, intra_lpips
from stylegraft.metrics.features import features
from stylegraft.metrics.kernel import kid, too_few
from stylegraft.metrics.memorisation import REAL, Thresholds, memorisation, real_thresholds
from stylegraft.networks.generator import Generator

SIZE, FULL_SIZE = 64, 256  # px at which LPIPS compares
FULL_SAMPLES = 1000
PROBED = 500  # reference images that the probe is fitted on, at most
REFERENCE = 1000  # that KID compares with, at most
HELD = 1 << 29  # bytes of embeddings kept while a generator is measured


@dataclass(frozen=True)
class Settings:
    """What a panel looks through. encoder: of p_target and KID, by name; None: the first of `rules.PROBES` whose
    weights are here. samples: latents. seed: of latents, views and subsets, whatever the run's. reference: images of
    the target beyond the shots: a path, an `ImageSet` or a tensor; None: the shots alone.
    """

    encoder: str | None = None
    samples: int = 200
    seed: int = 0
    reference: str | Path | ImageSet | Tensor | None = None

    def settled(self) -> Settings:
        """With the encoder named. Raises StylegraftError, with the command that gets it, when there is none."""
        if self.samples < 2:
            raise StylegraftError(f"a panel of {self.samples} latents; expected at least 2")
        return dataclasses.replace(self, encoder=self.encoder or rules.probe("p_target of a trace"))

    def ready(self) -> Settings:
        """The same, where LPIPS is here too: of a panel that is made later, the missing weights are one line now."""
        lpips_here()
        return self.settled()

    def __str__(self) -> str:
        """One phrase for the log."""
        return f"{self.samples} latents, p_target and KID by {self.encoder}, LPIPS at {SIZE} px at most"


class Panel:
    """Measures generators of one source for one target.

    generator: the source's. shots: what is trained on, uint8 [k, C, R, R]; they and their equals, pixel by pixel, are
    no part of the reference. align: how the shots were framed, and so the reference. encoder, distance: networks
    instead of those that the settings name.
    """

    def __init__(
        self,
        generator: Generator,
        shots: Tensor,
        settings: Settings | None = None,
        *,
        align: str | None = None,
        device: torch.device | str = "cpu",
        encoder: Encoder | None = None,
        distance: Distance | None = None,
    ) -> None:
        self.settings = settings = (settings or Settings()) if encoder else (settings or Settings()).settled()
        self.generator, self.shots, self.device = generator, shots.cpu(), device
        self.encoder = encoder or load_encoder(str(settings.encoder), device)
        self.lpips = distance or load_lpips("vgg", device)
        self.distance = Resized(self.lpips, SIZE)
        self.reference, self.origin = self._reference(align)
        self.notes: dict[str, str] = {}
        if self.reference is None:
            self.notes["reference"] = (
                "no reference beyond the training images: p_target is judged in folds, each sample by what was fitted "
                "without the image it resembles most"
            )
        if why := too_few(self._count):
            self.notes["kid"] = f"absent: {why}"
        if self.reference is None:
            self.notes["memorised"] = (
                "absent: how near real images come to each other takes a reference; the distance to the nearest "
                "training image is given alone"
            )

    @classmethod
    def of_run(cls, state: State, config: dict[str, Any], settings: Settings) -> Panel:
        """The panel of a run, at any of its steps."""
        align = config["target"]["align"]
        return cls(state.generator, to_uint8(state.images), settings, align=align, device=state.device)

    # What it says of itself
    # ----------------------------------------------------------------------------------------

    @cached_property
    def metrics(self) -> dict[str, str]:
        """The names of its numbers, by role: quality, diversity, kid, correspondence, memorised, nearest-shot."""
        names = {
            "quality": f"p_target-{self.encoder.name}" + (rules.FOLDS if self.reference is None else ""),
            "diversity": f"intra-{self.distance.name}/{self.settings.samples}",
            "kid": f"kid-{self.encoder.name}",
            "correspondence": f"correspondence-{self.distance.name}",
            "memorised": f"memorised-{self.distance.name}",
            "nearest-shot": f"nearest-shot-{self.distance.name}",
        }
        return {role: name for role, name in names.items() if role not in self.notes}

    @property
    def full_name(self) -> str:
        """The name of the full metric's headline."""
        return f"intra-{self.lpips.name}@{FULL_SIZE}/{FULL_SAMPLES}"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers, beside the run: two panels with other ones cannot be compared."""
        digest = getattr(self.lpips, "digest", "")
        under = {} if "memorised" in self.notes else {"memorised": f"1 % of the pairs of {REAL} at most"}
        return {
            "encoder": f"{self.encoder.name} {self.encoder.digest[:16]}",
            "distance": f"{self.distance.name} {digest[:16]}".strip(),
            "samples": self.settings.samples,
            "seed": self.settings.seed,
            "reference": f"{self._count} images {self.origin[:16]}"
            if self.origin
            else "the training images, in folds",
            **under,
        }

    def header(self) -> dict[str, Any]:
        """For the first line of a trace (`lab.trace.Tracer` says what is in it)."""
        return {
            "panel": self.identity,
            "metrics": self.metrics,
            "full": self.full_name,
            "anchors": self.sight.probe.anchors,
            "source": self.measure(self.generator),
            "notes": self.notes,
        }

    def check(self, path: Path, before: dict[str, Any]) -> None:
        """Refuse to add to numbers that another panel gave; the line names the first thing that differs."""
        for name, now in self.identity.items():
            if before.get(name) != now:
                raise StylegraftError(
                    f"{path}: was measured with {name} = {before.get(name)}, the command now asks for {now}; repeat "
                    "the first command to continue it, or remove the file to measure anew"
                )

    # What it measures
    # ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, network: Generator | Adapted) -> dict[str, Any]:
        """Numbers of a generator by name; `clusters` are the samples at each training image.

        Beside the headline of intra-LPIPS, where a cluster without a pair counts 0, stands `-without-empty`, where it
        is left out, and `-spread` over the draws of members; beside KID the spread of one subset; beside the share of
        copies `-nearest`, the one under the lower threshold (`metrics.memorisation`).
        """
        names, seed, shots = self.metrics, self.settings.seed, self.shots
        images = draw(network, self.z)
        once = Once(self.distance)
        intra = intra_lpips(images, shots, once, seed=seed)
        found = features(self.encoder, images, device=self.device)
        values: dict[str, Any] = {names["quality"]: self.sight.p_target(found)}
        values |= spelled(names["diversity"], intra)
        if self.near is not None:
            distance = kid(found, self.near, seed=seed)
            values |= {names["kid"]: distance.mean, f"{names['kid']}-spread": distance.spread}
        near = memorisation(images, shots, self.thresholds or Thresholds(0.0, 0.0), once)
        if "memorised" in names:
            name = names["memorised"]
            values |= {name: near.share, f"{name}-nearest": near.share_nearest}
        values[names["nearest-shot"]] = near.median
        values[names["correspondence"]] = correspondence(self.source, images, once).mean
        return values

    @torch.no_grad()
    def full(self, network: Generator | Adapted) -> dict[str, Any]:
        """intra-LPIPS as the papers take it: 1,000 latents, images brought to 256 px. In blocks under 2 GB."""
        z = latents(self.settings.seed, "panel", FULL_SAMPLES, self.device).normal(self.generator.z_dim)
        intra = intra_lpips(
            draw(network, z), self.shots, At(self.lpips, FULL_SIZE), seed=self.settings.seed, batch=8
        )
        return spelled(self.full_name, intra, sizes=f"clusters/{FULL_SAMPLES}")

    # What it is made of
    # ----------------------------------------------------------------------------------------

    @cached_property
    def z(self) -> Tensor:
        """The fixed latents [N, z_dim]; the first of the full metric's."""
        draws = latents(self.settings.seed, "panel", self.settings.samples, self.device)
        return draws.normal(self.generator.z_dim)

    @cached_property
    def source(self) -> Tensor:
        """The source's images of the same latents."""
        return draw(self.generator, self.z)

    @cached_property
    def sight(self) -> Sight:
        """The probe, fitted on other samples of the source."""
        pool = self.shots if self.reference is None else self.reference
        pool = some(pool, PROBED, self.settings.seed, "panel.pool")
        count = max(self.settings.samples, len(pool))
        z = latents(self.settings.seed, "panel.source", count, self.device).normal(self.generator.z_dim)
        source, learnt = draw(self.generator, z), self.reference is None
        return fit_sight(
            self.encoder, source, pool, self.settings.seed, "panel", learnt=learnt, device=self.device
        )

    @cached_property
    def near(self) -> Tensor | None:
        """Features of the reference, for KID."""
        if self.reference is None or "kid" in self.notes:
            return None
        part = some(self.reference, REFERENCE, self.settings.seed, "panel.kid")
        return features(self.encoder, part, device=self.device)

    @cached_property
    def thresholds(self) -> Thresholds | None:
        """How near real images come to each other."""
        if self.reference is None:
            return None
        return real_thresholds(real_part(self.reference, self.settings.seed), self.distance)

    @property
    def _count(self) -> int:
        return 0 if self.reference is None else len(self.reference)

    def _reference(self, align: str | None) -> tuple[Tensor | None, str]:
        """The reference without the shots, and what it was made from."""
        given = self.settings.reference
        if given is None:
            return None, ""
        pictures = open_images(given, self.generator, "auto" if align == "auto" else "off")
        left = unlike(pictures.images, self.shots)
        if int(left.sum()) < 2:
            raise StylegraftError(
                f"--reference: {len(pictures)} images, {int(left.sum())} of them no training images; expected at least "
                "2 others of the target (or leave it out)"
            )
        return pictures.images[left], pictures.digest


class Once:
    """A distance that embeds an image once, however often it is compared, while the embeddings fit `HELD` bytes."""

    def __init__(self, distance: Distance) -> None:
        self.distance, self.name = distance, distance.name
        self.kept: dict[bytes, list[Tensor]] = {}
        self.bytes = 0

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """The distance's own embedding."""
        keys = [key(image) for image in images]
        found = {one: self.kept[one] for one in keys if one in self.kept}
        rows = [i for i, one in enumerate(keys) if one not in found]
        if rows:
            for i, *levels in zip(rows, *self.distance.embed(images[rows]), strict=True):
                found[keys[i]] = levels
                size = sum(level.numel() * level.element_size() for level in levels)
                if self.bytes + size <= HELD:
                    self.kept[keys[i]] = [level.clone() for level in levels]
                    self.bytes += size
        return [torch.stack(levels) for levels in zip(*(found[one] for one in keys), strict=True)]


def real_part(reference: Tensor, seed: int) -> Tensor:
    """The real images that the thresholds of memorisation are taken from: in a trace those of `evaluate`."""
    return some(reference, REAL, seed, "memorised.real")


def lpips_here() -> None:
    """Raises StylegraftError, with the command that gets them, where the weights of LPIPS are not here."""
    assets.find("lpips")


def key(image: Tensor) -> bytes:
    """A digest of an image's values."""
    return hashlib.blake2b(image.detach().cpu().contiguous().numpy().tobytes(), digest_size=16).digest()


def spelled(name: str, intra: IntraDistance, sizes: str = "clusters") -> dict[str, Any]:
    """The numbers of an intra-cluster distance under this name; one that does not exist (no cluster has a pair) is
    left out.
    """
    values: dict[str, Any] = {name: intra.mean, f"{name}-spread": intra.spread}
    if intra.without_empty == intra.without_empty:
        values[f"{name}-without-empty"] = intra.without_empty
    return values | {sizes: list(intra.sizes)}
