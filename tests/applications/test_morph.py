"""Morphs: easing in closed form, stations that are the pictures of domains, loops that close, keys in a file."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylegraft.adaptation.sampling import Draws
from stylegraft.applications.keyfile import line_of, parse_keys
from stylegraft.applications.keyframes import EASES, Key, Morph, Track, along, cross_domain, evenly, tour
from stylegraft.applications.latents import of_seeds
from stylegraft.applications.morph import morph_frames
from stylegraft.checkpoints import Source
from stylegraft.data.pixels import to_uint8
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import blend_noise

from ..toys import ARCHITECTURES, domain_of, toy


@pytest.fixture(params=ARCHITECTURES)
def source(request: pytest.FixtureRequest) -> Source:
    return Source("toy", toy(request.param), None, {"licence": "none"})


def drawn(source: Source, domain: Domain | None, seed: int, psi: float = 0.7) -> torch.Tensor:
    """What `sample` draws: uint8 [3, R, R]."""
    generator = source.generator if domain is None else domain.merge(source.generator)
    with torch.inference_mode():
        return to_uint8(generator(Draws([seed]).normal(generator.z_dim), psi=psi).image)[0]


def frames(*args, **kwargs) -> torch.Tensor:
    return torch.cat(list(morph_frames(*args, **kwargs)))


# -- the path


@pytest.mark.parametrize(
    ("ease", "u", "share"),
    [
        ("linear", 0.3, 0.3),
        ("smooth", 1 / 3, 0.25),
        ("smooth", 0.5, 0.5),
        ("ease-in", 1 / 3, 1 - math.sqrt(3) / 2),
        ("ease-out", 1 / 3, 0.5),
    ],
)
def test_easing_in_closed_form(ease: str, u: float, share: float):
    assert math.isclose(EASES[ease](u), share, rel_tol=1e-12)


@pytest.mark.parametrize("ease", EASES)
def test_an_ease_goes_from_0_to_1_and_never_back(ease: str):
    along_it = [EASES[ease](i / 100) for i in range(101)]
    assert along_it == sorted(along_it)
    assert along_it[0] == 0
    assert math.isclose(along_it[-1], 1)


def test_a_track_rests_outside_its_keys_and_is_exact_at_them():
    track = Track((Key(1, 0.1), Key(2, 0.7, "linear"), Key(4, -0.3, "ease-in")))
    assert [track.number(t) for t in (0, 1, 2, 4, 9)] == [0.1, 0.1, 0.7, -0.3, -0.3]
    assert math.isclose(track.number(1.25), 0.25)
    assert math.isclose(track.number(3), 0.7 - (1 - math.sqrt(0.5)))


def test_a_loop_goes_back_with_the_ease_of_its_first_key_and_leaves_its_end_out():
    closed = Track((Key(0, 1.0, "linear"), Key(2, 3.0))).closed(4)
    assert closed.keys[-1] == Key(4, 1.0, "linear")
    with pytest.raises(StylegraftError, match="no time for the way back"):
        Track((Key(0, 1.0), Key(4, 3.0))).closed(4)
    assert Morph(10, (), loop=True).count(30) == 300
    assert Morph(10, ()).count(30) == 301
    assert Morph(10, ()).times(30)[-1] == 10


def test_a_tour_comes_home_and_a_strip_shows_its_ends():
    assert tour([0.5, 2.0]) == [(0, 0), (0.5, 0), (0, 2.0), (0, 0)]
    assert Morph(6, ()).spread(4) == [0, 2, 4, 6]
    assert Morph(6, (), loop=True).spread(3) == [0, 2, 4]


def test_the_cross_domain_morph_has_the_four_stages_of_the_paper():
    stations = cross_domain([0.8, 0.8])
    assert stations == [(0, 0, 0), (0.8, 0, 0), (0.8, 0, 1), (0, 0.8, 1), (0, 0.8, 0)]
    assert cross_domain([0.8, 0.8], 0.9, loop=True)[-2:] == [(0, 0.8, 0), (0, 0, 0)]
    half = along(stations, 8, ease="linear")
    assert [track.number(5) for track in half.domains] == [0.4, 0.4, 1.0]  # a D2 + (1 - a) D1 in the target


# -- the frames


@pytest.mark.parametrize("space", ["stylespace", "affine-light+", "full"])
def test_stations_are_the_pictures_of_source_and_domains(source: Source, space: str):
    a, b = (domain_of(source.generator, space, seed) for seed in (1, 2))
    found = frames(source, [a, b], along(tour([1.0, 0.5]), 3), seeds=[7], fps=1)
    expected = [drawn(source, d, 7) for d in (None, a, b * 0.5, None)]
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[0], found[3])
    for frame, picture in zip(found, expected, strict=True):
        assert (frame.int() - picture.int()).abs().max() <= 1  # sums in another order, then rounded


def test_half_way_is_the_mix_of_weights(source: Source):
    a, b = (domain_of(source.generator, "full", seed, 0.1) for seed in (1, 2))
    plan = along([(1, 0), (0, 1)], 2, ease="linear")
    found = frames(source, [a, b], plan, seeds=[7], times=[0.5])
    assert (found[0].int() - drawn(source, a * 0.75 + b * 0.25, 7).int()).abs().max() <= 1


def test_faces_go_along_a_line_in_w_of_the_frames_own_mapping(source: Source):
    domain = domain_of(source.generator, "mapping", 1)
    plan = along([(1.0,), (1.0,)], 2, faces=2, ease="linear", psi=0.6)
    found = frames(source, [domain], plan, seeds=[3, 8], fps=2)
    merged = domain.merge(source.generator)
    w = merged.mapping(Draws([3, 8]).normal(merged.z_dim))
    line = torch.stack([torch.lerp(w[0], w[1], u) for u in (0.0, 0.25, 0.5, 0.75, 1.0)])
    with torch.inference_mode():
        expected = to_uint8(merged(w=line, psi=0.6).image)
    assert (found.int() - expected.int()).abs().max() <= 1


def test_codes_are_walked_as_they_are(source: Source):
    codes = of_seeds(source.generator, [3, 8], 0.5)
    found = frames(source, [], along([()], 2, faces=2, ease="linear"), codes=codes, fps=1)
    with torch.inference_mode():
        middle = to_uint8(source.generator(ws=codes.ws.mean(0, keepdim=True)).image)[0]
    assert torch.equal(found[0], drawn(source, None, 3, 0.5))
    assert (found[1].int() - middle.int()).abs().max() <= 1


def test_noise_goes_from_the_anchor_to_one_draw(source: Source):
    generator = source.generator
    plan = Morph(2, (), noise=Track((Key(0, 0.0), Key(2, 1.0, "linear"))))
    found = frames(source, [], plan, seeds=[4], fps=1, blend="vp", noise_seed=5)
    other = generator.noise("random", 1, torch.Generator().manual_seed(5))
    with torch.inference_mode():
        z = Draws([4]).normal(generator.z_dim)
        for frame, a in zip(found, (0.0, 0.5, 1.0), strict=True):
            noise = blend_noise(generator.noise(), other, a, "vp")
            assert (
                frame.int() - to_uint8(generator(z, psi=0.7, noise=noise).image)[0].int()
            ).abs().max() <= 1
    assert torch.equal(found[0], drawn(source, None, 4))
    assert not torch.equal(found[0], found[2])


def test_psi_may_move_too(source: Source):
    plan = Morph(2, (), psi=Track((Key(0, 0.0), Key(2, 1.0, "linear"))))
    found = frames(source, [], plan, seeds=[4], fps=1)
    for frame, psi in zip(found, (0.0, 0.5, 1.0), strict=True):
        assert (frame.int() - drawn(source, None, 4, psi).int()).abs().max() <= 1


def test_a_loop_closes_evenly(source: Source):
    plan = along(tour([1.0]), 4, faces=3, ease="linear", loop=True)
    found = frames(source, [domain_of(source.generator, "stylespace")], plan, seeds=[1, 2, 3], fps=4)
    assert len(found) == 16
    after = frames(
        source, [domain_of(source.generator, "stylespace")], plan, seeds=[1, 2, 3], times=[3.75, 4.0]
    )
    assert torch.equal(after[1], found[0])  # what comes after the last is the first
    assert torch.equal(after[0], found[-1])


def test_the_same_morph_gives_the_same_frames_and_tells_how_far_it_is(source: Source):
    domain = domain_of(source.generator, "affine-light+")
    plan = along(tour([1.0]), 4, faces=2)
    told = []
    first = frames(source, [domain], plan, seeds=[1, 2], fps=8, progress=lambda *said: told.append(said))
    assert torch.equal(first, frames(source, [domain], plan, seeds=[1, 2], fps=8))
    assert [done for _, done, _ in told] == [16, 32, 33]
    assert {total for _, _, total in told} == {33}


def test_frames_are_made_when_they_are_asked_for(source: Source):
    told = []
    plan = along([()], 1000.0)
    film = morph_frames(source, [], plan, fps=30, progress=lambda _, done, total: told.append((done, total)))
    next(film)
    assert told == [(16, 30001)]


def test_a_morph_that_does_not_fit_is_refused(source: Source):
    domain = domain_of(source.generator, "stylespace")
    with pytest.raises(StylegraftError, match="1 domains, 2 tracks"):
        morph_frames(source, [domain], along(tour([1, 1]), 1))
    with pytest.raises(StylegraftError, match="through face 1; there are 1, counted from 0"):
        morph_frames(source, [domain], along(tour([1]), 1, faces=2), seeds=[0])


# -- the file

KEYS = """\
loop = true
seconds = 6

[domains]
pencil = "a.safetensors"
oil = "b.safetensors"

[[keys]]
at = 0
seed = 3
domains = {pencil = 0.0}

[[keys]]
at = 2.5
seed = 11
domains = {pencil = 1, oil = -0.5}
noise = 0.5
ease = "linear"
"""


def test_a_file_of_keys_is_its_tracks(tmp_path: Path):
    (tmp_path / "a.safetensors").touch()
    script = parse_keys(KEYS, tmp_path / "keys.toml")
    plan = script.morph
    assert script.domains == {"pencil": str(tmp_path / "a.safetensors"), "oil": "b.safetensors"}
    assert (script.seeds, script.codes, script.fps, script.blend) == ((3, 11), None, 30.0, "linear")
    assert plan.domains[0].keys == (Key(0, 0.0), Key(2.5, 1.0, "linear"), Key(6, 0.0))
    assert plan.domains[1].keys == (Key(2.5, -0.5, "linear"),)  # one key: it is so all the time
    assert [plan.face.place(t)[:2] for t in (0, 2.5)] == [(0, 1), (1, 0)]
    assert plan.noise.number(4) == 0.5
    assert plan.psi.number(4) == 0.7


def test_keys_of_codes_are_places_in_their_file(tmp_path: Path):
    text = 'codes = "faces.safetensors"\n[[keys]]\nat = 0\ncode = 4\n[[keys]]\nat = 1\ncode = 2\n'
    script = parse_keys(text, tmp_path / "keys.toml")
    assert script.codes == tmp_path / "faces.safetensors"
    assert [key.value for key in script.morph.face.keys] == [4, 2]


@pytest.mark.parametrize(
    ("typed", "instead", "said"),
    [
        ("pencil = 1,", "pencl = 1,", "line 16: domains.pencl: unknown (did you mean 'pencil'?); there are"),
        ('ease = "l', 'eas = "l', "line 18: eas: unknown (did you mean 'ease'?)"),
        ('"linear"', '"liner"', "line 18: ease is 'liner'; expected one of linear, smooth, ease-in, ease-out"),
        ("at = 2.5\n", "", "line 13: keys: a key without a time"),
        ("at = 2.5", "at = 0", "line 14: at is 0; expected more than 0, the key's before"),
        ("seed = 11", "seed = -1", "line 15: seed is -1; expected a whole number"),
        ("seed = 11", "seed = 4294967296", "seed is 4294967296; expected a whole number from 0 to 4294967295"),
        ("seed = 11", "code = 1", "line 15: code: expected seed = 0, or codes = FILE at the top"),
        ("-0.5", "nan", "line 16: domains.oil is nan; expected a finite number"),
        ("noise = 0.5", "noise = 2", "line 17: noise is 2; expected a number from 0"),
        ("domains = {pencil = 0.0}", "domains = 3", "line 11: domains is 3; expected strengths by name"),
        ("seconds = 6", "seconds = 2", "line 2: seconds is 2; expected at least 2.5, where the last key is"),
        ("seconds = 6", "seconds = 2.5", "line 1: loop: face: a loop of 2.5 s whose key at 2.5 s leaves no time"),
        ("loop = true", "lop = true", "line 1: lop: unknown (did you mean 'loop'?)"),
        ('"a.safetensors"', "7", "line 5: domains.pencil is 7; expected a run folder or a domain file"),
        ("[[keys]]", "[[kyes]]", "line 8: kyes: unknown (did you mean 'keys'?)"),
        ("{pencil = 0.0}", "{pencil = 0.0", "not TOML"),
    ],
)  # fmt: skip
def test_a_typo_names_line_and_key(typed: str, instead: str, said: str):
    assert typed in KEYS
    with pytest.raises(StylegraftError) as error:
        parse_keys(KEYS.replace(typed, instead), Path("keys.toml"))
    assert str(error.value).startswith("keys.toml")
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_line_is_found_behind_text_that_only_looks_like_it():
    text = 'name = """\nat = 1\n"""\n[[keys]]\n# at = 2\nat = 3\n'
    assert line_of(text, ("keys", 0, "at")) == 6
    assert line_of(text, ("keys", 0)) == 4


def test_a_file_of_keys_is_refused_without_torch():
    code = (
        "import sys; from pathlib import Path; from stylegraft.applications.keyfile import parse_keys;"
        "parse_keys('[[keys]]\\nat = 1', Path('k')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_key_after_another_takes_the_same_time():
    assert [key.at for key in evenly([0, 1, 2], 5.0).keys] == [0, 2.5, 5.0]
