"""What a domain file does not store: the numbers that are zero, and the second copy of a shared tensor.

Both are noted in the file's config: `ties`, lists of the tensor names that share the first one's values; `sparse`,
[name, shape, n] of tensors of which n numbers are not zero. Those lie one after another in two tensors for all of
them, `sparse|index` and `sparse|value`; an index counts within its own tensor, and is a float that holds it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError

INDEX, VALUE = "sparse|index", "sparse|value"
EXACT = {torch.float16: 1 << 11, torch.float32: 1 << 24}  # whole numbers below are exact
MOST = 1 << 27  # zeros that a file may announce in all, 512 MB; some networks have 30 million parameters


def without_copies(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[list[str]]]:
    """The tensors under the first of their names, and the names of each one that has several."""
    names: dict[int, list[str]] = {}
    for name in sorted(tensors):
        names.setdefault(id(tensors[name]), []).append(name)
    kept = {same[0]: tensors[same[0]] for same in names.values()}
    return kept, sorted(same for same in names.values() if len(same) > 1)


def with_copies(shown: str, tensors: Mapping[str, Tensor], ties: Any) -> dict[str, Tensor]:
    """The inverse of `without_copies`: tied names hold the same tensor."""
    if not isinstance(ties, list) or not all(_is_tie(names) for names in ties):
        raise StylegraftError(f"{shown}: its ties should be lists of at least two tensor names")
    found = dict(tensors)
    for first, *others in ties:
        if first not in tensors:
            raise StylegraftError(f"{shown}: a tie to {first!r}, which the file does not hold")
        for name in others:
            if name in found:
                raise StylegraftError(f"{shown}: {name!r} is tied to {first!r} and stands in the file twice")
            found[name] = tensors[first]
    return found


def without_zeros(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[list[Any]]]:
    """Tensors with at most a third of their numbers not zero as index and value, which is smaller in every dtype."""
    sparse: list[list[Any]] = []
    indices, values, announced = [], [], 0
    for name in sorted(tensors):
        flat = tensors[name].detach().cpu().reshape(-1)
        index = flat.nonzero()[:, 0]
        fits = flat.numel() <= EXACT[torch.float32] and announced + flat.numel() <= MOST
        if fits and flat.numel() > 2 and 3 * len(index) <= flat.numel():
            announced += flat.numel()
            sparse.append([name, list(tensors[name].shape), len(index)])
            indices.append(index)
            values.append(flat[index])
    kept = {name: tensor for name, tensor in tensors.items() if name not in {s[0] for s in sparse}}
    if sparse:
        index = torch.cat(indices)
        small = index.numel() == 0 or int(index.max()) < EXACT[torch.float16]
        kept |= {INDEX: index.to(torch.float16 if small else torch.float32), VALUE: torch.cat(values)}
    return kept, sparse


def with_zeros(shown: str, tensors: Mapping[str, Tensor], sparse: Any) -> dict[str, Tensor]:
    """The inverse of `without_zeros`, in fp32."""
    if not isinstance(sparse, list) or not all(_is_sparse(entry) for entry in sparse):
        raise StylegraftError(f"{shown}: its sparse tensors should be lists of a name, a shape and a count")
    found = {name: tensor.float() for name, tensor in tensors.items() if name not in (INDEX, VALUE)}
    index, value = (tensors.get(name, torch.zeros(0)).float() for name in (INDEX, VALUE))
    total = sum(entry[2] for entry in sparse)
    if index.shape != (total,) or value.shape != (total,):
        raise StylegraftError(
            f"{shown}: {INDEX} and {VALUE} have the shapes {list(index.shape)} and {list(value.shape)},"
            f" its config expects {total} numbers"
        )
    if (announced := sum(prod(shape) for _, shape, _ in sparse)) > MOST:
        raise StylegraftError(f"{shown}: sparse tensors of {announced:,} numbers, the limit is {MOST:,}")
    first = 0
    for name, shape, count in sparse:
        if name in found:
            raise StylegraftError(f"{shown}: {name!r} is sparse and stands in the file twice")
        at, dense = index[first : first + count], torch.zeros(prod(shape))
        whole = bool((at == at.floor()).all()) and bool((at.diff() > 0).all())
        if not whole or (count and not 0 <= float(at[0]) <= float(at[-1]) < dense.numel()):
            raise StylegraftError(f"{shown}: {name}: its indices should rise within {dense.numel()} numbers")
        dense[at.long()] = value[first : first + count]
        found[name] = dense.reshape(shape)
        first += count
    return found


def _is_tie(names: Any) -> bool:
    return isinstance(names, list) and len(names) > 1 and all(isinstance(name, str) for name in names)


def _is_sparse(entry: Any) -> bool:
    if not (isinstance(entry, list) and len(entry) == 3):
        return False
    name, shape, count = entry
    sizes = isinstance(shape, list) and len(shape) <= 8
    return isinstance(name, str) and sizes and all(type(n) is int and 0 <= n <= MOST for n in (*shape, count))
