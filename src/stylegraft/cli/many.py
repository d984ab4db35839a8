"""`adapt --texts FILE` and `adapt --images FOLDER`: a domain for each line or picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stylegraft.cli.adapt import Options, checked, run, settings
from stylegraft.data.texts import read_text
from stylegraft.errors import StylegraftError


def run_many(options: Options) -> None:
    """Check all that is asked for, then learn one after the other, and say where they are."""
    from stylegraft.adaptation.place import default_folder
    from stylegraft.adaptation.request import names_of

    listed = options.texts or options.images
    assert listed is not None
    others = {
        "TARGET": options.target, "--text": options.text, "--image": options.image, "--trace": options.trace,
        "--images": options.texts and options.images,
    }  # fmt: skip
    flag = "--texts" if options.texts else "--images"
    for name, value in others.items():
        if value:
            raise StylegraftError(f"{flag} {listed}: found {name} beside it; expected one of them")
    requests = lines_of(listed) if options.texts else pictures_of(listed)
    out, names = options.out or default_folder(str(listed)), names_of(requests)
    each = [
        replace(
            options,
            texts=None,
            images=None,
            text=None if isinstance(one, Path) else one,
            image=one if isinstance(one, Path) else None,
            out=out / name,
        )
        for one, name in zip(requests, names, strict=True)
    ]
    (row, *_), *_ = [checked(one) for one in each]
    if options.dry_run:
        print(f"the first of {len(each)} runs; each of the others takes no more memory, and less time")
        run(each[0])
        return

    from stylegraft.adaptation.many import adapt_many
    from stylegraft.cli.console import file_size
    from stylegraft.distributed import rank

    done = adapt_many(options.source, requests, out=out, recipe=row, **settings(options))
    if rank():
        return
    print()
    for one in done:
        assert one.folder is not None
        domain = one.folder / "domain.safetensors"
        print(f"{domain}     {file_size(domain)}, {one.domain.count:,} numbers")


def lines_of(path: Path) -> list[str | Path]:
    """The sentences of a text file, one a line; empty lines are passed over."""
    try:
        text = read_text(path, "a file with a sentence a line; --text takes one sentence")
    except StylegraftError as error:
        raise StylegraftError(f"--texts {error}") from None
    lines = [line.strip() for line in text.splitlines()]
    if not any(lines):
        raise StylegraftError(f"--texts {path}: holds no words; expected a sentence a line")
    return [line for line in lines if line]


def pictures_of(folder: Path) -> list[str | Path]:
    """The pictures of a folder, by name."""
    from stylegraft.data.files import EXTENSIONS

    if not folder.is_dir():
        raise StylegraftError(
            f"--images {folder}: is no folder; expected a folder of pictures, or --image FILE"
        )
    found = [
        p for p in sorted(folder.iterdir()) if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".")
    ]
    if not found:
        raise StylegraftError(f"--images {folder}: holds no pictures; expected one or more")
    return list(found)
