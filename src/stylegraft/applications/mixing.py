"""Any mix of domains, another one for each sample of a batch: what sliders, morphs and grids of mixtures draw with.

A domain is a set of deltas, and a mix of amounts a adds them up: theta + sum_k a_k Delta_k (StyleDomain, Alanov et al.,
ICCV 2023, mixes style offsets so). What a sample's own tensors can carry is applied to each sample in the one
pass: the style vectors of layer l become

    s_b = A (w_b + sum_k a_bk o_k) + b + sum_k a_bk (dA_k (w_b + ...) + db_k)

with low-rank dA_k kept as their two factors, and the gains after demodulation and the mean of w follow in the same way.
Kernels, constant, noise strengths, mapping and miner are the same tensor for a whole batch: these are merged once for
each distinct row of amounts, and the batch runs in those groups.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from stylegraft.applications.style_shift import StyleShift, style_shift
from stylegraft.domains import deltas as algebra
from stylegraft.domains.apply import Adapted, beside
from stylegraft.domains.deltas import Delta
from stylegraft.domains.domain import W_AVG, Domain, base_tensors
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, Noise, Output

MERGED = 12  # sets of tensors that are kept: mapping, affine weights and kernels of four rows of amounts
PER_SAMPLE = (".channel_gain", ".w_offset", W_AVG)  # tensors that a forward takes with a row for each sample

Row = tuple[float, ...]


class Mixer:
    """k domains of one base, in any mix, another one for each sample of a batch.

    Offsets of styles and rows of W+, low-rank affine weights and gains cost a few small matrix products whatever the
    amounts; other deltas are merged once for each distinct row of amounts (the last few are kept), those of
    whole affine weights where a batch has one row alone. The base is untouched and stays shared: do not call one base
    from two threads at once; `beside` makes a mixer for the second. Make it when the generator is on its device.

    Raises StylegraftError for domains of different bases, naming both, and for a generator that is not their base
    unless `transfer` (`Domain.check`).
    """

    def __init__(self, generator: Generator, domains: Sequence[Domain], *, transfer: bool = False) -> None:
        if not domains:
            raise StylegraftError("a mix needs at least one domain")
        reduce(operator.add, domains).check(generator, transfer=transfer)
        self.generator, self.domains = generator, tuple(domains)
        self._base = base_tensors(generator)
        self._shifts: dict[str, StyleShift] = {}
        affine = set()
        with torch.inference_mode(False), torch.no_grad():
            for layer in generator.layers:
                name = f"synthesis.{layer.name}.affine"
                affine |= {f"{name}.weight", f"{name}.bias"}
                if shift := style_shift(generator, name, domains):
                    self._shifts[layer.name] = shift
            totals = {
                name: {
                    k: d for k, domain in enumerate(domains) if (d := self._total(domain, name)) is not None
                }
                for name in dict.fromkeys(name for domain in domains for name in domain.deltas)
                if name not in affine
            }
        self._per_sample = {name: found for name, found in totals.items() if name.endswith(PER_SAMPLE)}
        shared = {name: found for name, found in totals.items() if name not in self._per_sample}
        self._mapping = {name: found for name, found in shared.items() if name.startswith("mapping.")}
        self._kernels = {name: found for name, found in shared.items() if name not in self._mapping}
        self._matrices = {
            f"synthesis.{layer}.affine.weight": dict(
                zip(shift.matrices_of.tolist(), shift.matrices, strict=True)
            )
            for layer, shift in self._shifts.items()
            if len(shift.matrices)
        }
        self._merged: dict[tuple[str, Row], Adapted] = {}

    def __call__(
        self,
        amounts: Tensor,
        *,
        z: Tensor | None = None,
        w: Tensor | None = None,
        ws: Tensor | None = None,
        styles: Mapping[str, Tensor] | None = None,
        c: Tensor | None = None,
        psi: float = 1.0,
        noise: Literal["const", "random", "none"] | Noise = "const",
        taps: Iterable[str] = (),
    ) -> Output:
        """Images and taps, sample b in the mix sum_k amounts[b, k] * domains[k]; a row of zeros is the source.

        amounts [B, k] (or [1, k] for the whole batch), any finite numbers; one of z [B, z_dim] (with c [B, c_dim]),
        w [B, w_dim], ws [B, num_ws, w_dim] and styles {layer: [B, channels]}; noise: maps [B or 1, 1, r, r] or a mode.
        styles are the source's and are shifted as the domains shift those of `ws`, which goes with them where a domain
        moves more of an affine layer than its bias. Gradients reach codes and noise, and the amounts as far as
        they act on each sample by itself.
        """
        given = [name for name, x in (("z", z), ("w", w), ("ws", ws), ("styles", styles)) if x is not None]
        if len(given) != 1 and given != ["ws", "styles"]:
            raise StylegraftError(
                f"exactly one of z, w, ws, styles is needed, or ws with styles; found {', '.join(given) or 'none'}"
            )
        if psi != 1 and given[0] in ("ws", "styles"):
            raise StylegraftError(f"truncation psi={psi} acts on z or w; found {given[0]}")
        code = next(x for x in (z, w, ws, next(iter((styles or {}).values()), None)) if x is not None)
        a = self._check(amounts, len(code))
        rows = [tuple(row) for row in a.detach().cpu().tolist()]
        if z is not None:
            w = self.mapping(a, z, c)
        if w is not None:
            view = Adapted(self.generator, self._each_sample((W_AVG,), a)) if psi != 1 else self.generator
            ws = view.ws(w, psi)
        moved = self.styles(a, ws, styles)
        if isinstance(noise, str):
            noise = self.generator.noise(noise, len(a))
        gains = self._each_sample([name for name in self._per_sample if name.endswith(".channel_gain")], a)
        groups = _groups(rows, self._owners(self._kernels))
        outputs = []
        for row, chosen in groups:
            view = self._view("kernels", self._kernels, row)
            if gains:
                own = {name: gain[chosen] for name, gain in gains.items()}
                view = Adapted(self.generator, {**view.effective, **own})
            s = {name: style[chosen] for name, style in moved.items()}
            maps = {name: n[chosen] if len(n) > 1 else n for name, n in noise.items()}
            outputs.append(view(styles=s, noise=maps, taps=taps))
        image = _joined([output.image for output in outputs], groups)
        return Output(image, {t: _joined([o.taps[t] for o in outputs], groups) for t in outputs[0].taps})

    def beside(self) -> Mixer:
        """The same mixer for another thread: modules of its own around the same tensors; only what is merged for a row
        of amounts is held by each.
        """
        twin = copy.copy(self)
        twin.generator, twin._merged = beside(self.generator), {}
        return twin

    def mapping(self, amounts: Tensor, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [B, z_dim] (with c [B, c_dim]) -> w [B, w_dim], each through the mapping of its mix, amounts [B, k]."""
        groups = _groups(amounts.detach().cpu().tolist(), self._owners(self._mapping))
        found = [
            self._view("mapping", self._mapping, row).mapping(z[chosen], None if c is None else c[chosen])
            for row, chosen in groups
        ]
        return _joined(found, groups)

    def styles(
        self, amounts: Tensor, ws: Tensor | None, styles: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Style vectors {layer: [B, channels]} of ws [B, num_ws, w_dim] in the mix amounts [B, k]; with `styles`, the
        source's, those shifted by as much.
        """
        if ws is None:
            return self._shifted_alone(amounts, styles or {})
        if ws.ndim != 3 or ws.shape[1:] != (self.generator.num_ws, self.generator.w_dim):
            rows = f"[B, {self.generator.num_ws}, {self.generator.w_dim}]"
            raise StylegraftError(f"ws has shape {list(ws.shape)}; expected {rows}")
        effective = self._each_sample([n for n in self._per_sample if n.endswith(".w_offset")], amounts)
        groups = _groups(amounts.detach().cpu().tolist(), self._owners(self._matrices))
        merged = len(groups) == 1 and not amounts.requires_grad
        if merged:
            effective |= self._view("affine", self._matrices, groups[0][0]).effective
        source = self.generator.synthesis.styles
        found = (Adapted(self.generator, effective).synthesis.styles if effective else source)(ws)
        layers = [layer for layer in self.generator.layers if layer.name in self._shifts]
        for layer in layers:
            row = ws[:, layer.row]
            if (offset := effective.get(f"synthesis.{layer.name}.w_offset")) is not None:
                row = row + offset
            found[layer.name] = found[layer.name] + self._shifts[layer.name](
                row, amounts, matrices=not merged
            )
        if styles is None:
            return found
        unmoved = source(ws)
        return {name: s + (found[name] - unmoved[name]) for name, s in styles.items()}

    def _shifted_alone(self, amounts: Tensor, styles: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Styles whose w is not known: only offsets of styles can be added to them."""
        reading = [name for name, shift in self._shifts.items() if shift.reads_w]
        reading += [name for name in self._per_sample if name.endswith(".w_offset")]
        if reading:
            raise StylegraftError(
                f"styles alone: the domains move {reading[0]} by what w is; give ws, the rows of W+, as well"
            )
        return {
            name: s + amounts @ self._shifts[name].offsets if name in self._shifts else s
            for name, s in styles.items()
        }

    def _check(self, amounts: Tensor, batch: int) -> Tensor:
        """The amounts as [batch, k] beside the base's tensors."""
        k = len(self.domains)
        if amounts.ndim != 2 or amounts.shape[1] != k or amounts.shape[0] not in (1, batch):
            raise StylegraftError(
                f"amounts have the shape {list(amounts.shape)}; expected [{batch}, {k}]: a row for each sample, a"
                " number for each domain"
            )
        if not bool(torch.isfinite(amounts).all()):
            b, i = (~torch.isfinite(amounts)).nonzero()[0].tolist()
            raise StylegraftError(f"amounts[{b}, {i}] is {float(amounts[b, i])}; expected finite numbers")
        return amounts.to(self._base[W_AVG]).expand(batch, k)

    def _total(self, domain: Domain, name: str) -> Tensor | None:
        """The effective delta of one parameter at amount 1, once for all mixes."""
        return algebra.effective_delta(domain.deltas.get(name, ()), self._base[name])

    def _each_sample(self, names: Iterable[str], amounts: Tensor) -> dict[str, Tensor]:
        """{name: theta + sum_k a_bk Delta_k, [B, ...]} of those vectors that a domain moves."""
        found = {}
        for name in names:
            if owners := self._per_sample.get(name):
                chosen = amounts[:, list(owners)]
                found[name] = self._base[name] + chosen @ torch.stack(tuple(owners.values()))
        return found

    def _owners(self, totals: Mapping[str, Mapping[int, Tensor]]) -> list[int]:
        """The domains whose amounts decide on the merged tensors."""
        return sorted({k for owners in totals.values() for k in owners})

    def _view(self, part: str, totals: Mapping[str, Mapping[int, Tensor]], row: Row) -> Adapted:
        """The base with the mix `row` of these deltas merged; the last few are kept. Nothing is copied for zeros."""
        view = self._merged.pop((part, row), None)
        if view is None:
            while len(self._merged) >= MERGED:
                self._merged.pop(next(iter(self._merged)))
            # Outside inference mode: what is derived from frozen weights is remembered for ordinary tensors only.
            with torch.inference_mode(False), torch.no_grad():
                effective = {
                    name: algebra.moved(self._base[name], terms)
                    for name, owners in totals.items()
                    if (terms := [Delta(row[k], "dense", {"D": d}) for k, d in owners.items() if row[k]])
                }
            view = Adapted(self.generator, effective)
        self._merged[part, row] = view
        return view


def _groups(rows: Sequence[Row], owners: Sequence[int]) -> list[tuple[Row, slice | list[int]]]:
    """The samples that share the amounts of `owners`: [(their row, others' amounts 0; which they are), ...]."""
    found: dict[Row, list[int]] = {}
    for i, row in enumerate(rows):
        key = tuple(amount if k in owners else 0.0 for k, amount in enumerate(row))
        found.setdefault(key, []).append(i)
    if len(found) == 1:
        return [(row, slice(None)) for row in found]
    return list(found.items())


def _joined(pieces: Sequence[Tensor], groups: Sequence[tuple[Row, slice | list[int]]]) -> Tensor:
    """What the groups made, in the order of the batch."""
    if len(pieces) == 1:
        return pieces[0]
    order = [i for _, chosen in groups if isinstance(chosen, list) for i in chosen]
    return torch.cat(tuple(pieces))[torch.tensor(order, device=pieces[0].device).argsort()]
