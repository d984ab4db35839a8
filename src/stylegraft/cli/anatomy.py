"""Say what of a domain moved where, what each part does to the images, and how alike several domains are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.cli import flags
from stylegraft.cli.flags import Device
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.cli.model import Model
    from stylegraft.lab.anatomy import Anatomy
    from stylegraft.lab.domain_similarity import DomainSimilarity

STUDY = "study.toml"  # what a study's folder holds: `lab.compare.COPY`, known here without torch


@dataclass(frozen=True)
class Options:
    """What `stylegraft anatomy` takes."""

    domains: Annotated[
        Positional[tuple[str, ...]], arg(metavar="DOMAIN [DOMAIN ...]", help_behavior_hint="")
    ] = ()
    """Domain files or runs of one source; or the folder of one study, which is read by the targets' distances."""
    distance: Annotated[Literal["lpips", "cosine"], arg(metavar="{lpips,cosine}")] = "lpips"
    """How far an image moves: LPIPS on VGG16 at 64 px at most, or 1 - cosine of the encoder's features."""
    encoder: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the first here)")] = None
    """Of the shifts and of the distances to the source: a name of `stylegraft encoders`; of a study: its own."""
    latents: Annotated[int, arg(metavar="N")] = 24
    """Images that the effect of each part is the mean over."""
    count: Annotated[int, arg(metavar="N")] = 300
    """Images on either side of the distances to the source."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Of latents and subsets."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domains, where it is not a shipped source: name, file or hf://."""
    study: Annotated[
        Path | None, arg(metavar="FILE", help_behavior_hint="(default: the copy in the study's folder)")
    ] = None
    """The file that a study was run from: paths in it begin there, and the copy knows nothing of that."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: in a run or study, else anatomy-NAME)"),
    ] = None
    """Where anatomy.json, anatomy.html and the pictures go."""
    charts: Annotated[
        Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: on the page alone)")
    ] = None
    """Write the charts of a study here, as SVG."""


def run(options: Options) -> None:
    """Check the line, measure, write the result, and print the tables."""
    check(options)
    if options.encoder:
        from stylegraft.encoders import split

        split(options.encoder)
    studies = [text for text in options.domains if (Path(text) / STUDY).is_file()]
    if studies and len(options.domains) > 1:
        raise StylegraftError(
            f"{studies[0]}: a study, which is read alone; expected no other argument beside it"
        )
    for flag, value in (("--study", options.study), ("--charts", options.charts)):
        if value and not studies:
            raise StylegraftError(f"{flag} {value}: is for a study's folder, and there is none")
    (of_study if studies else of_domains)(options)


def check(options: Options) -> None:
    """Refuse what makes no sense, naming the flag."""
    if not options.domains:
        raise StylegraftError("anatomy: expected a domain file, a run, or the folder of a study")
    for name, least in (("latents", 1), ("count", 2)):
        if getattr(options, name) < least:
            raise StylegraftError(f"--{name} {getattr(options, name)}: expected at least {least}")
    flags.check(options)


# Domains
# --------------------------------------------------------------------------------------------


def of_domains(options: Options) -> None:
    """Take each domain apart, and compare them."""
    models = named(options)

    from stylegraft.adaptation import rules
    from stylegraft.adaptation.sight import latents
    from stylegraft.checkpoints import describe_base
    from stylegraft.cli.console import bar, say
    from stylegraft.devices import check_device
    from stylegraft.domains.directions import load_domain
    from stylegraft.encoders import load_encoder
    from stylegraft.encoders.lpips import load_lpips
    from stylegraft.lab import anatomy_page
    from stylegraft.lab.anatomy import anatomy
    from stylegraft.lab.domain_similarity import domain_similarity
    from stylegraft.lab.panel import SIZE
    from stylegraft.metrics.diversity import EncoderDistance, Resized
    from stylegraft.sources import load_source

    check_device(options.device, "sample")
    base = load_source(next(iter(models.values())).base_text)
    domains = {name: load_domain(model.found.path, base) for name, model in models.items()}
    encoder = load_encoder(options.encoder or rules.probe("anatomy"), options.device)
    cosine = options.distance == "cosine"
    distance = EncoderDistance(encoder) if cosine else Resized(load_lpips("vgg", options.device), SIZE)
    folder = options.out or default_folder(models)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"source": describe_base(base), "seed": options.seed, "noise": "const", "psi": 1.0}
    generator = base.generator.to(options.device)
    z = latents(options.seed, "anatomy", options.latents, options.device).normal(generator.z_dim)
    with bar() as progress:
        found = {
            name: anatomy(
                domain, generator, distance, z, lambda part, *at, of=name: progress(f"{part} of {of}", *at)
            )
            for name, domain in domains.items()
        }
        similarity = domain_similarity(
            domains, generator, encoder, count=options.count, seed=options.seed, device=options.device,
            progress=progress,
        )  # fmt: skip
    about |= {"encoder": {encoder.name: encoder.digest}}
    anatomy_page.write(found, similarity, domains, generator, folder, about)
    for (name, one), far in zip(found.items(), similarity.distances, strict=True):
        show(name, one)
        say(f"distance to the source: {far}")
        print()
    if len(found) > 1:
        show_similarity(similarity)
    show_files(folder)


def named(options: Options) -> dict[str, Model]:
    """The domains by short names, all of one source; raises StylegraftError for anything else, without torch."""
    from stylegraft.cli.model import find_model
    from stylegraft.cli.terms import DOMAINS

    found: dict[str, Model] = {}
    for text in options.domains:
        model = find_model(text, options.source, DOMAINS)
        path = model.found.path.parent if model.found.kind == "run" else model.found.path
        short = path.resolve().name.removesuffix(".safetensors")
        name = short if short not in found else text
        if model.found.path.resolve() in {other.found.path.resolve() for other in found.values()}:
            raise StylegraftError(f"{text}: named twice; expected each domain once")
        found[name] = model
    first = next(iter(found.values()))
    for text, model in zip(options.domains, found.values(), strict=True):
        if model.base.path != first.base.path:
            raise StylegraftError(
                f"{text}: stands on {model.base_text}, {first.found.path} on {first.base_text}; expected domains of"
                " one source"
            )
    return found


def default_folder(models: dict[str, Model]) -> Path:
    """Inside a single run; of anything else beside the user."""
    name, model = next(iter(models.items()))
    if len(models) == 1 and model.found.kind == "run":
        return model.found.path.parent / "anatomy"
    return Path(f"anatomy-{Path(name).name}" if len(models) == 1 else "anatomy")


def show(name: str, one: Anatomy) -> None:
    """Size and both effects, group by resolution."""
    from stylegraft.cli.console import print_table
    from stylegraft.lab.anatomy import MAPS

    for field, title in MAPS.items():
        groups, columns, values = one.grid(field)
        per_cent = field == "size"
        print(f"{name}: {title}, {'%' if per_cent else one.distance}")
        rows = [
            (group, *(cell(value, per_cent) for value in row))
            for group, row in zip(groups, values, strict=True)
        ]
        print_table(("group", *(f">{column}" for column in columns)), rows)
        print()
    print(f"all of it: {one.distance} {one.whole:.3f} (mean over {one.latents} latents)")


def cell(value: float | None, per_cent: bool) -> str:
    """A number of a grid; empty where nothing moves or nothing can be said."""
    if value is None:
        return ""
    return f"{100 * value:.3g}" if per_cent else f"{value:.3f}"


def show_similarity(found: DomainSimilarity) -> None:
    """Both matrices; those of the groups are on the page."""
    from stylegraft.cli.console import print_table
    from stylegraft.lab.domain_similarity import ALL

    effects = f"cosine of effects (shift of the mean {found.encoder} feature)"
    for title, matrix in (("cosine of deltas", found.deltas[ALL]), (effects, found.effects)):
        print(title)
        rows = [
            (f"{i} {name}", *("" if v is None else f"{v:.2f}" for v in row))
            for i, (name, row) in enumerate(zip(found.names, matrix, strict=True), 1)
        ]
        print_table(("domain", *(f">{i}" for i in range(1, len(rows) + 1))), rows)
        print()


# A study
# --------------------------------------------------------------------------------------------


def of_study(options: Options) -> None:
    """Quality of each space against the distance of the targets."""
    from stylegraft.lab.studyfile import read

    home = Path(next(iter(options.domains)))
    study = read(options.study or home / STUDY)

    from stylegraft.adaptation import rules
    from stylegraft.cli.console import bar, print_table, say
    from stylegraft.devices import check_device
    from stylegraft.encoders import load_encoder
    from stylegraft.lab import anatomy_study
    from stylegraft.lab.compare import listed
    from stylegraft.lab.results import read_rows
    from stylegraft.lab.study import slug

    check_device(options.device, "sample")
    rows = read_rows(listed(study), home)
    if not any(row.result for row in rows):
        raise StylegraftError(f"{home}: a study without a finished run; `stylegraft compare` runs it")
    asked = options.encoder or dict(study.trace.settings).get("encoder") or rules.probe("anatomy")
    encoder = load_encoder(asked, options.device)
    with bar() as progress:
        found = anatomy_study.study_anatomy(
            rows, home, encoder, count=options.count, seed=options.seed, device=options.device,
            progress=progress,
        )  # fmt: skip
    folder = options.out or home / "anatomy"
    folder.mkdir(parents=True, exist_ok=True)
    anatomy_study.write(study.name, found, folder)
    for far in found.far:
        say(f"{far}")
        print_table(anatomy_study.COLUMNS, map(anatomy_study.line, found.of(far)))
        print()
    for target in found.waiting:
        print(f"not measured: {target}, of which no run is done")
    show_files(folder)
    if options.charts:
        made = anatomy_study.write_charts(found, options.charts, slug(study.name))
        print(f"charts     {len(made)} in {options.charts}")


def show_files(folder: Path) -> None:
    """Where the result is."""
    from stylegraft.lab.anatomy_page import FILES

    print(f"numbers    {folder / FILES[0]}\nreport     {folder / FILES[1]}")
