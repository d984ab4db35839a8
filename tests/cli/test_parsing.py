"""Words that are no line of a verb: one line that says which word, what was expected, and the nearest."""

from __future__ import annotations

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
