"""Words that are no line of a verb: one line that says which word, what was expected, and the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylegraft.cli.main import main


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("translate a b.png --recipe fats", "--recipe fats: expected fast or good (did you mean 'fast'?)"),
        ("adapt a b --preset papper", "--preset papper: expected paper or scaled (did you mean 'paper'?)"),
        ("export a b --layout nvida", "--layout nvida: expected nvidia or rosinality (did you mean 'nvidia'?)"),
        ("translate a b.png --space afine", "--space afine: expected z, w, w+ or s"),
        ("assets gte", "gte: expected list or get (did you mean 'get'?)"),
        ("evaluate a --metrics fdi", "did you mean 'fid'?"),
        ("directions faces-64 sefx", "no such method (did you mean 'sefa'?)"),
        ("sample a --seed 3", "--seed: no such flag (did you mean '--seeds'?)"),
        ("sample a --seed=3", "--seed=3: no such flag (did you mean '--seeds'?)"),
        ("edit a --suppress", "--suppress: no such flag (did you mean '--suppress-domain-at-edit'?)"),
        ("sample a b", "b: one word too many"),
        ("sample a --psi much", "--psi much: expected a number"),
        ("morph a --seconds 1o", "--seconds 1o: expected a number"),
        ("sample a --columns 1.5", "--columns 1.5: expected a whole number"),
        ("edit a --direction", "--direction: expected WHAT[@ROWS][=AMOUNT] after it"),
        ("directions a --folders b", "--folders b: expected WITH WITHOUT"),
        ("convert", "expected MODEL and OUT"),
        ("transfer a", "expected --to"),
        ("adapt --hlep", "--hlep: no such flag (did you mean '--help'?)"),
        ("sample --seed 3", "--seed: no such flag (did you mean '--seeds'?)"),
        ("adapt faces-64 a --lr 0.1", "--lr: a field of the recipe; expected --set lr=VALUE"),
        ("adapt faces-64 a --ada-max=1", "--ada-max=1: a field of the recipe; expected --set ada_max=VALUE"),
        ("adapt pencil faces-64", "pencil: a set of pictures; expected a source in its place"),
        ("recipes faces-64 dcl", "expected the recipe first, `recipes dcl faces-64`"),
        ("assets list lpips", "`stylegraft assets get lpips` gets one"),
        ("adapt faces-64 pencil --set lr 0.1", "--set lr 0.1: expected --set lr=0.1"),
        ("adapt faces-64 pencil --set lr = 0.1", "--set lr 0.1: expected --set lr=0.1"),
        ("adapt faces-64 pencil --seed -1", "--seed -1: expected a whole number from 0 to 4294967295"),
        ("adapt faces-64 pencil --seed 4294967296", "--seed 4294967296: expected a whole number from 0"),
        ("anatomy a --seed -1", "--seed -1: expected a whole number from 0"),
        ("control a --seed -1", "--seed -1: expected a whole number from 0"),
        ("evaluate faces-64 --reference pencil --seed -1", "--seed -1: expected a whole number from 0"),
        ("translate a b.png --seed -1", "--seed -1: expected a whole number from 0"),
        ("export a --out x.onnx", "--out: no flag; expected OUT as a word of its own"),
        ("compare a --steps 9", "--steps: a line of a study; expected steps in a study.toml"),
        ("compare faces-64", "faces-64: a source; expected pictures, or a study.toml"),
        ("compare --example a.toml", "`stylegraft compare --example > a.toml` writes it"),
        ("claims --charts a", "--charts a: is for a study, and none is there"),
        ("control 0.5", "0.5: a number alone; an amount follows its domain, as in runs/a:0.5"),
        ("directions sefa faces-64", "expected the model first, `directions faces-64 sefa`"),
        ("evaluate a --metrics fid,kid", "several stand apart: fid kid"),
        ("spaces affine faces-64", 'expected the source first, `spaces faces-64 "affine"`'),
        ("adapt faces-64 pencil --resolution-for-loss 32", "a guide sees, and dcl has none"),
    ],
)  # fmt: skip
def test_a_word_that_does_not_fit_gets_one_line(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_without_the_hook_of_tyro_its_own_page_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("tyro._errors.on_parse_error")
    with pytest.raises(SystemExit) as end:
        main(["translate", "a", "b.png", "--recipe", "fats"])
    assert end.value.code == 2
    assert "fats" in capsys.readouterr().err


def test_help_of_a_verb_is_asked_for_either_way_round(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for line in (["help", "prune"], ["prune", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(line)
        assert not end.value.code
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] != ""


def test_the_studio_says_on_windows_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stylegraft.cli.studio.find_spec", lambda name: None)
    assert main(["studio", str(tmp_path)]) == 2
    assert "run it in WSL" in capsys.readouterr().err
