"""What domains add to style vectors: deltas of affine layers, for each sample by itself.

The style vector of a layer is s = A w + b. Domains k move A by dA_k and b by db_k; sample b has the amounts a_b of
them, so that its style grows by sum_k a_bk (dA_k w_b + db_k), and no weight is built for a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegraft.domains import deltas as algebra
from stylegraft.domains.domain import Domain
from stylegraft.networks.generator import Generator
from stylegraft.networks.mapping import FullyConnected


@dataclass(frozen=True)
class StyleShift:
    """What k domains add to one layer's style vectors: offsets [k, C] on their own; low-rank factors stacked over the
    domains, v [w_dim, R] and u [R, C], and matrices [m, C, w_dim], with the domain that owns each. The matrices lack
    the `gain` of the layer's weight, so that they are what is merged as well.
    """

    offsets: Tensor
    v: Tensor
    u: Tensor
    ranks_of: Tensor
    matrices: Tensor
    matrices_of: Tensor
    gain: float

    @property
    def reads_w(self) -> bool:
        """Whether the shift depends on w."""
        return bool(len(self.u) or len(self.matrices))

    def __call__(self, w: Tensor, amounts: Tensor, *, matrices: bool = True) -> Tensor:
        """Rows w [B, w_dim] and amounts [B, k] -> [B, C]; without `matrices` where those are merged."""
        shift = amounts @ self.offsets
        if len(self.u):
            shift = torch.addmm(shift, w @ self.v * amounts[:, self.ranks_of], self.u)
        if len(self.matrices) and matrices:
            moved = torch.einsum("bi,mci->bmc", w * self.gain, self.matrices)
            shift = shift + torch.einsum("bm,bmc->bc", amounts[:, self.matrices_of], moved)
        return shift


def style_shift(generator: Generator, name: str, domains: Sequence[Domain]) -> StyleShift | None:
    """What `domains` add to the affine layer `name`, gains included; None where none moves it.

    Low-rank terms stay two factors; every other form is its dense delta, computed on the base.
    """
    affine = generator.get_submodule(name)
    assert isinstance(affine, FullyConnected)
    weight, bias = affine.weight.detach(), affine.bias.detach()
    offsets = torch.zeros(len(domains), *bias.shape).to(bias)
    us, vs, ranks_of, matrices, matrices_of = [], [], [], [], []
    for k, domain in enumerate(domains):
        if (shift := algebra.effective_delta(domain.deltas.get(f"{name}.bias", ()), bias)) is not None:
            offsets[k] = shift * affine.bias_gain
        terms = domain.deltas.get(f"{name}.weight", ())
        for term in (term for term in terms if term.form == "lowrank"):
            u, v = (term.parts[part].to(weight) for part in ("U", "V"))
            us.append(u.T * (term.coefficient * affine.weight_gain))
            vs.append(v.T)
            ranks_of += [k] * len(v)
        rest = algebra.effective_delta((term for term in terms if term.form != "lowrank"), weight)
        if rest is not None:
            matrices.append(rest)
            matrices_of.append(k)
    if not any(f"{name}.{part}" in domain.deltas for domain in domains for part in ("weight", "bias")):
        return None
    empty = weight.new_zeros
    channels, w_dim = weight.shape
    return StyleShift(
        offsets,
        torch.cat(vs, 1) if vs else empty(w_dim, 0),
        torch.cat(us) if us else empty(0, channels),
        torch.tensor(ranks_of, dtype=torch.long, device=weight.device),
        torch.stack(matrices) if matrices else empty(0, channels, w_dim),
        torch.tensor(matrices_of, dtype=torch.long, device=weight.device),
        affine.weight_gain,
    )
