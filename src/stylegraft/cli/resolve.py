"""What did the user name: a source (shipped, file, hub), a domain, a direction or a run? Without importing torch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from stylegraft.errors import StylegraftError, nearest, nearest_file

if TYPE_CHECKING:
    from stylegraft.checkpoints.foreign import Foreign

T = TypeVar("T")

# A direction is a domain in the file of StyleDomain or HyperDomainNet; a direction of `edit` is another thing.
Kind = Literal["source", "domain", "direction", "run", "hypernetwork", "file of codes", "direction of edit"]
MODELS: tuple[Kind, ...] = ("source", "domain", "direction", "run")
KEPT: tuple[Kind, ...] = ("file of codes", "direction of edit")
SUFFIXES = (".safetensors", ".pkl", ".pt")
FORMATS: dict[str, Kind] = {
    "stylegraft-source": "source",
    "stylegraft-layout": "source",  # in the names of another code base
    "stylegraft-domain": "domain",
    "stylegraft-hypernet": "hypernetwork",
    "stylegraft-latents": "file of codes",
    "stylegraft-direction": "direction of edit",
}


@dataclass(frozen=True)
class Found:
    """kind: what it is; path: its file (of a run: its domain file); metadata: the text in our own file's header;
    foreign: what somebody else's file holds."""

    kind: Kind
    path: Path
    metadata: dict[str, str]
    foreign: Foreign | None = None

    @property
    def resolution(self) -> int:
        """Of a source: the side of its images, by the header or the shapes of its tensors."""
        if self.foreign is not None and self.foreign.generator is not None:
            return 4 << sum(name.endswith(".conv0.weight") for name in self.foreign.generator.shapes)
        known = self.metadata.get("resolution")  # of a source that is made of an asset
        return int(known) if known else self.says(int, "config", "generator", "resolution")

    @property
    def architecture(self) -> str:
        """Of a source: `stylegan2`, as all foreign ones, or `mobile`, as the one that is made of an asset."""
        if self.foreign is not None:
            return "stylegan2"
        return (
            self.says(str, "config", "generator", "architecture") if "config" in self.metadata else "mobile"
        )

    @property
    def blocks(self) -> list[int]:
        """Of a source: the sizes of its maps."""
        if self.architecture != "mobile":
            return [4 << i for i in range(self.resolution.bit_length() - 2)]
        if "config" not in self.metadata:  # an asset, whose head is a wavelet
            return [4 << i for i in range(self.resolution.bit_length() - 3)]
        channels = self.says(dict, "config", "generator", "channels")
        return sorted(int(size) for size in channels if size.isdecimal())

    @property
    def rows(self) -> int:
        """Of a source: the rows of W+, of which each layer of `mobile` reads its own."""
        return 3 * len(self.blocks) - 1 if self.architecture == "mobile" else 2 * len(self.blocks)

    @property
    def w_dim(self) -> int | None:
        """Of a source: the length of w; None where only its tensors tell."""
        return self.says(dict, "config", "generator").get("w_dim", 512) if "config" in self.metadata else None

    def says(self, kind: type[T], *keys: str) -> T:
        """What the header says at these keys, of this type: the first names a text of JSON, the rest lead into it."""
        try:
            value = json.loads(self.metadata[keys[0]])
            for key in keys[1:]:
                value = value[key]
        except (KeyError, ValueError, TypeError, RecursionError):
            value = None
        if type(value) is not kind:
            raise StylegraftError(
                f"{self.path}: damaged {self.kind}: no {'.'.join(keys)} in its header"
            ) from None
        return value


def find(text: str, wanted: Sequence[Kind]) -> Found:
    """Resolve a name or path; raises StylegraftError when it is nothing, or none of `wanted`."""
    from stylegraft.checkpoints.hub import fetch, is_hub
    from stylegraft.data.targets import TARGETS
    from stylegraft.sources import SOURCES, source_path

    path = Path(text)
    if is_hub(text):
        found = of_file(fetch(text)[0])
    elif text in SOURCES and SOURCES[text].asset:
        found = Found("source", source_path(text), {"resolution": str(SOURCES[text].resolution)})
    elif text in SOURCES:
        found = Found("source", source_path(text), header(source_path(text)))
    elif path.is_dir():
        found = run_folder(path)
    elif path.exists():
        found = of_file(path)
    elif (
        path.parent.is_dir()
        and (amount := re.fullmatch(r"(.+):(-?[0-9.]+)", text))
        and Path(amount[1]).exists()
    ):
        raise StylegraftError(
            f"{text}: expected {amount[1]}; amounts behind a colon are for mix, morph, control and translate, and"
            " some other verbs have --strength"
        )
    elif "://" in text:
        raise StylegraftError(
            f"{text}: fetch it first and give the file, or a name of the hub (hf://OWNER/REPO/FILE)"
        )
    elif is_path(text):
        raise StylegraftError(f"{no_file(path)}; expected {choice(wanted)}")
    else:
        names = [*(SOURCES if "source" in wanted else ()), *(sibling.name for sibling in Path().glob("*"))]
        listed = f"; shipped sources: {', '.join(SOURCES)}" if "source" in wanted else ""
        if text in TARGETS:
            raise StylegraftError(
                f"{text}: a set of pictures; expected {choice(wanted)} in its place{listed}"
            )
        raise StylegraftError(
            f"{text}: no such file{' and no source of that name' * bool(listed)}{nearest(text, names)};"
            f" expected {choice(wanted)}{listed}"
        )
    if found.kind not in wanted:
        raise StylegraftError(f"{text}: a {found.kind}, expected {choice(wanted)}")
    return found


def is_path(text: str) -> bool:
    """Whether a text reads like a file, which no name does: it has a folder or an ending."""
    return Path(text).name != text or bool(Path(text).suffix)


def no_file(path: Path) -> str:
    """`runs/a.safetensor: no such file (did you mean 'a.safetensors'?)`: only files are near a file."""
    if not path.parent.is_dir():
        return f"{path}: no such file; the folder {path.parent} does not exist"
    return (
        f"{path}: no such file{nearest_file(path.name, [sibling.name for sibling in path.parent.glob('*')])}"
    )


def is_source(text: str) -> bool:
    """Whether a text names a shipped source, something on the disk or on the hub, or at least reads like a path."""
    from stylegraft.checkpoints.hub import is_hub
    from stylegraft.sources import SOURCES

    path = Path(text)
    return text in SOURCES or is_hub(text) or path.suffix in SUFFIXES or path.exists()


def choice(kinds: Sequence[Kind]) -> str:
    """`a source, domain or run`."""
    *others, last = kinds
    return f"a {', '.join(others)} or {last}" if others else f"a {last}"


def of_file(path: Path) -> Found:
    """What a file is, by its first bytes and then its header or its pickle."""
    from stylegraft.checkpoints import foreign

    if not foreign.is_foreign(path):
        metadata = header(path)
        return Found(FORMATS[metadata["format"]], path, metadata)
    theirs = foreign.read(path)
    return Found("source" if theirs.generator is not None else "direction", path, {}, theirs)


def run_folder(folder: Path) -> Found:
    """The run in a folder, by its domain file."""
    path = folder / "domain.safetensors"
    if path.is_file():
        return Found("run", path, header(path))
    if (folder / "config.json").is_file():
        raise StylegraftError(
            f"{folder}: this run has not saved a domain yet; let it go on, or repeat its command"
        )
    raise StylegraftError(
        f"{folder}: not a run: it has no domain.safetensors (a run is what `stylegraft adapt` leaves)"
    )


def header(path: Path) -> dict[str, str]:
    """The metadata of one of our files; raises StylegraftError when it is something else or damaged."""
    from stylegraft.checkpoints.headers import read_metadata
    from stylegraft.checkpoints.pickles import printable

    try:
        metadata = read_metadata(path)
    except StylegraftError as error:
        raise StylegraftError(f"{error}; so it is not a source and not a domain") from error
    if metadata.get("format") not in FORMATS:
        what = printable(metadata.get("format", "")) or "tensors without stylegraft's metadata"
        raise StylegraftError(f"{path}: not a source and not a domain: it holds {what}")
    return metadata
