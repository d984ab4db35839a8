"""The domain file, version 1: one `.safetensors` of delta tensors over a base that it names but never holds.

Tensors are `<parameter>|<form>|<part>`. A mix holds several terms on one parameter; these, and any term whose
coefficient is not 1, are `<parameter>|<form>.<k>|<part>`, where k points into the list `coefficients` of the
config. Metadata: `format`, `format_version`, `config` (JSON), `base` (JSON: fingerprint, name, licence,
sha256), `library_version` and `digest`, a SHA-256 over tensors, config and base. No time stamps: equal
content, equal bytes.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stylegraft.checkpoints import headers, tensorfile
from stylegraft.domains import packing
from stylegraft.domains.deltas import FORMS, Delta, Parts
from stylegraft.errors import StylegraftError

FORMAT = "stylegraft-domain"
VERSIONS = range(1, 2)
BASE_KEYS = ("fingerprint", "name", "licence", "sha256")
RESERVED = ("coefficients", "ties", "sparse")  # names in the config that are the file's own
_KEYS = {"format", "format_version", "library_version", "config", "base", "digest"}
_NAME = re.compile(
    r"(?P<parameter>[A-Za-z0-9_.]+)\|(?P<form>[a-z][a-z0-9-]*)(\.(?P<k>0|[1-9][0-9]{0,3}))?\|(?P<part>\w+)"
)

Deltas = dict[str, tuple[Delta, ...]]


def write(
    path: str | os.PathLike[str],
    deltas: Mapping[str, Sequence[Delta]],
    config: Mapping[str, Any],
    base: Mapping[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a domain atomically; raises StylegraftError when a value is not finite in `dtype` or the disk refuses."""
    shown = os.fspath(path)
    for name in RESERVED:
        if name in config:
            raise StylegraftError(f"{shown}: the config name {name!r} is reserved for the file")
    tensors, coefficients = _flatten(deltas)
    if not tensors:
        raise StylegraftError(f"{shown}: the domain has no delta, there is nothing to save")
    tensors, ties = packing.without_copies(tensors)
    tensors = {name: tensor.detach().to(dtype) for name, tensor in tensors.items()}
    tensorfile.require_finite(path, tensors)
    tensors, sparse = packing.without_zeros(tensors)
    own = dict(zip(RESERVED, (coefficients, ties, sparse), strict=True))
    metadata = {
        "config": tensorfile.to_json({**config, **{k: v for k, v in own.items() if v}}, "the config"),
        "base": tensorfile.to_json(base, "the base"),
    }
    metadata["digest"] = tensorfile.digest(tensors, metadata)
    tensorfile.write(path, tensors, metadata | tensorfile.stamp(FORMAT, VERSIONS))


def read(path: str | os.PathLike[str]) -> tuple[Deltas, dict[str, Any], dict[str, str]]:
    """Read (deltas, config, base) in fp32 on the CPU after every check that needs no base network.

    Raises StylegraftError naming the file and the fault: kind, version, metadata, digest, NaN, names, forms,
    parts.
    """
    shown = os.fspath(path)
    tensorfile.require_format(path, headers.read_metadata(path), FORMAT, VERSIONS)
    tensors, metadata = tensorfile.read(path)
    for key in sorted(metadata.keys() ^ _KEYS):
        what = "missing" if key in _KEYS else "unknown to this version"
        raise StylegraftError(f"{shown}: metadata {key!r} is {what}")
    texts = {key: metadata[key] for key in ("config", "base")}
    tensorfile.require_digest(path, metadata["digest"], tensorfile.digest(tensors, texts))
    tensorfile.require_finite(path, tensors)
    config = headers.from_json(metadata["config"], path, "its config")
    base = headers.from_json(metadata["base"], path, "its base")
    for key in BASE_KEYS:
        if not isinstance(base.get(key), str):
            raise StylegraftError(f"{shown}: its base has no {key!r}; expected text")
    coefficients, ties, sparse = (config.pop(name, []) for name in RESERVED)
    tensors = packing.with_copies(shown, packing.with_zeros(shown, tensors, sparse), ties)
    return _gather(shown, tensors, _coefficients(shown, coefficients)), config, base


def _flatten(deltas: Mapping[str, Sequence[Delta]]) -> tuple[dict[str, Tensor], list[float]]:
    """File names of every part, and the list of coefficients that the numbered ones point into."""
    tensors: dict[str, Tensor] = {}
    coefficients: list[float] = []
    for parameter, terms in sorted(deltas.items()):
        lone = len(terms) == 1 and terms[0].coefficient == 1.0
        k = -1
        for term in terms:
            if (
                not lone
            ):  # the next k with this coefficient: terms keep their order, and equal ones their own number
                k = next(
                    (i for i in range(k + 1, len(coefficients)) if coefficients[i] == term.coefficient), -1
                )
                if k < 0:
                    coefficients.append(term.coefficient)
                    k = len(coefficients) - 1
            label = term.form if lone else f"{term.form}.{k}"
            tensors |= {f"{parameter}|{label}|{part}": tensor for part, tensor in term.parts.items()}
    return tensors, coefficients


def _coefficients(shown: str, found: Any) -> list[float]:
    if not isinstance(found, list) or not all(type(c) in (int, float) and math.isfinite(c) for c in found):
        raise StylegraftError(f"{shown}: its coefficients should be a list of finite numbers")
    return [float(c) for c in found]


def _gather(shown: str, tensors: Mapping[str, Tensor], coefficients: Sequence[float]) -> Deltas:
    """The inverse of `_flatten`; every name is checked."""
    found: dict[str, dict[tuple[int, str], Parts]] = {}
    for name in sorted(tensors):
        match = _NAME.fullmatch(name)
        if match is None:
            raise StylegraftError(f"{shown}: tensor {name!r} is not named <parameter>|<form>|<part>")
        form, k = match["form"], int(match["k"] or -1)
        if form not in FORMS:
            raise StylegraftError(
                f"{shown}: {name}: form {form!r} is unknown; known forms: {', '.join(FORMS)}"
            )
        if k >= len(coefficients):
            raise StylegraftError(
                f"{shown}: {name}: there is no coefficient {k}, the file lists {len(coefficients)}"
            )
        parts = found.setdefault(match["parameter"], {}).setdefault((k, form), {})
        parts[match["part"]] = tensors[name]
    deltas: Deltas = {}
    for parameter, terms in found.items():
        ks = [k for k, _ in terms]
        if len(set(ks)) < len(ks) or (-1 in ks and len(ks) > 1):
            raise StylegraftError(f"{shown}: {parameter} has two deltas under one number")
        for (_, form), parts in terms.items():
            _check_part_names(shown, parameter, form, parts)
        deltas[parameter] = tuple(
            Delta(1.0 if k < 0 else coefficients[k], form, terms[k, form]) for k, form in sorted(terms)
        )
    if not deltas:
        raise StylegraftError(f"{shown}: the file holds no delta")
    return deltas


def _check_part_names(shown: str, parameter: str, form: str, parts: Parts) -> None:
    expected = FORMS[form].names
    for part in sorted(parts.keys() ^ set(expected)):
        what = "is missing" if part in expected else f"is unknown; {form} has {', '.join(expected)}"
        raise StylegraftError(f"{shown}: {parameter}|{form}: part {part!r} {what}")
