"""A published image model as transformers keeps it: a folder (or a repository of the hub) with `config.json`,
`preprocessor_config.json` and weights.

The network is transformers', its files are read here: of the configuration only the numbers that make the
architecture, weights by our readers. So no file decides what code runs, and what `preprocess` does is written down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stylegraft.checkpoints import hub
from stylegraft.checkpoints.torch_files import read_state
from stylegraft.encoders.places import place
from stylegraft.errors import StylegraftError

_REPOSITORY = re.compile(r"(hf://[\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
MODES = {2: "bilinear", 3: "bicubic"}  # Pillow's number of a filter -> torch's name


@dataclass(frozen=True)
class Published:
    """The files of one model; `root` is a folder, or `hf://OWNER/REPO` with the commit of all its files."""

    root: Path | str
    commit: str = ""

    def file(self, *names: str) -> Path:
        """The first of these files that is there; raises StylegraftError when none is."""
        if isinstance(self.root, Path):
            if found := next((self.root / name for name in names if (self.root / name).is_file()), None):
                return found
            if not self.root.is_dir():
                raise StylegraftError(f"{self.root}: no such folder")
            raise StylegraftError(f"{self.root}: no {' or '.join(names)} in this folder")
        for name in names[:-1]:
            try:
                return hub.fetch(f"{self.root}/{name}@{self.commit}")[0]
            except StylegraftError:
                continue
        return hub.fetch(f"{self.root}/{names[-1]}@{self.commit}")[0]

    def settings(self, name: str) -> dict[str, Any]:
        """A file of JSON."""
        path = self.file(name)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise StylegraftError(f"{path}: not readable as JSON ({error})") from None
        if not isinstance(found, dict):
            raise StylegraftError(f"{path}: expected an object of settings")
        return found

    def tensors(self, starts: Sequence[str]) -> dict[str, Tensor]:
        """Weights, float32, whose names begin so; StylegraftError when one is not finite, or none begins so."""
        path = self.file(*WEIGHTS)
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, "pt") as file:
                    found = {
                        key: file.get_tensor(key) for key in file.keys() if key.startswith(tuple(starts))
                    }
            except (SafetensorError, OSError) as error:
                raise StylegraftError(f"{path}: not a readable safetensors file ({error})") from None
        else:
            state = read_state(path.read_bytes(), str(path))
            found = {
                key: torch.from_numpy(np.array(value))
                for key, value in state.items()
                if key.startswith(tuple(starts))
            }
        # old files keep 0, 1, 2, ... as a buffer
        found = {key: value.float() for key, value in found.items() if not key.endswith("position_ids")}
        if not found:
            raise StylegraftError(f"{path}: no tensor whose name begins with {' or '.join(starts)}")
        for key, value in found.items():
            if not torch.isfinite(value).all():
                raise StylegraftError(f"{path}: {key!r} holds values that are not finite")
        return found


def repository(found: Path | str) -> Published:
    """The files of a folder or of hf://OWNER/REPO@REVISION, at one commit; raises StylegraftError for another name."""
    if not hub.is_hub(str(found)):
        return Published(Path(found).expanduser())
    match = _REPOSITORY.fullmatch(str(found))
    if match is None:
        raise StylegraftError(f"{found}: expected hf://OWNER/REPO@REVISION (a branch, tag or commit)")
    root, revision = match.groups()
    _, pinned = hub.fetch(f"{root}/config.json" + (f"@{revision}" if revision else ""))
    return Published(root, pinned.rpartition("@")[2])


def find_published(kind: str, where: str) -> tuple[Published, dict[str, Any]]:
    """The files of a model of a kind and its configuration; raises StylegraftError for another kind of model."""
    found = place(kind, where)
    files = repository(found)
    config = files.settings("config.json")
    if config.get("model_type") != kind:
        raise StylegraftError(f"{found}: a model of type {config.get('model_type')!r}, expected {kind!r}")
    return files, config


@dataclass(frozen=True)
class Framing:
    """How pictures become the network's input: the shorter side to `short` px (or the whole to a square of it), the
    `crop` px in the middle, ImageNet's or the model's mean and deviation (of values in 0..1).

    Antialiased when it shrinks, as Pillow does, and differentiable: nothing is rounded to 256 levels between.
    Values that a bicubic filter throws beyond black and white are clamped.
    """

    short: int
    square: bool
    crop: int
    mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, crop, crop]."""
        images = images.expand(-1, 3, -1, -1)
        shape = images.shape[-2:]
        new = [self.short if self.square or n == min(shape) else n * self.short // min(shape) for n in shape]
        for size in ([shape[0], new[1]], new):  # across, then down, each clamped: Pillow's order
            if list(images.shape[-2:]) != size:
                images = F.interpolate(images, size, mode=self.mode, align_corners=False, antialias=True)
                images = images.clamp(-1, 1)
        top, left = ((n - self.crop) // 2 for n in new)
        images = images[..., top : top + self.crop, left : left + self.crop]
        mean, std = (images.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return (images - (2 * mean - 1)) / (2 * std)


def framing(settings: Mapping[str, Any], name: str) -> Framing:
    """From `preprocessor_config.json`; raises StylegraftError for what it asks that is not done here."""

    def side(field: str) -> tuple[int, bool]:
        value = settings.get(field)
        if isinstance(value, Mapping):
            if "shortest_edge" in value:
                return int(value["shortest_edge"]), False
            if value.get("height") == value.get("width") and value.get("height"):
                return int(value["height"]), True
        elif isinstance(value, int):
            return value, False
        raise StylegraftError(
            f"{name}: preprocessor_config.json has {field} {value!r}, expected a square's side"
        )

    short, square = side("size")
    crop = side("crop_size")[0] if settings.get("do_center_crop", "crop_size" in settings) else short
    mode = MODES.get(settings.get("resample", 3))
    mean, std = (tuple(map(float, settings.get(f"image_{part}", ()))) for part in ("mean", "std"))
    if mode is None or len(mean) != 3 or len(std) != 3 or not 0 < crop <= short:
        raise StylegraftError(
            f"{name}: preprocessor_config.json with size {short}, crop {crop}, resample {settings.get('resample')!r}, "
            f"mean {list(mean)}, std {list(std)}; expected a crop within the size, resample 2 or 3, three numbers each"
        )
    return Framing(short, square, crop, mode, mean, std)


def transformers_package(name: str) -> ModuleType:
    """The package, or the line that says which extra brings it."""
    try:
        import transformers
    except ImportError as error:
        raise StylegraftError(f"{name} needs an extra: pip install 'stylegraft[clip]'") from error
    return transformers


def build(
    name: str,
    network: str,
    config: str,
    fields: Sequence[str],
    values: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> nn.Module:
    """A network of transformers, by the names of its class and of its configuration's, with these weights and no other.

    Of `values` only `fields` are passed on: the numbers of the architecture. Raises StylegraftError when the weights
    do not fit it.
    """
    transformers = transformers_package(name)
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        settings = getattr(transformers, config)(
            **{field: values[field] for field in fields if field in values}
        )
        # from_pretrained knows the names that older releases gave to tensors
        model, report = getattr(transformers, network).from_pretrained(
            None,
            config=settings,
            state_dict=dict(weights),
            output_loading_info=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
        )
    except Exception as error:  # whatever a configuration of another kind sets off in there
        line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise StylegraftError(
            f"{name}: its config.json and its weights do not fit each other ({line[:160]})"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    for kind in ("missing", "unexpected"):
        if keys := sorted(report[f"{kind}_keys"]):
            raise StylegraftError(f"{name} weights: {kind} tensor {keys[0]!r} ({len(keys)} such)")
    return model
