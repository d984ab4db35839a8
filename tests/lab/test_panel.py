"""The panel measures every generator alike, names what it looked through, and keeps the shots out of the reference."""

from __future__ import annotations

import pytest
import torch

from stylegraft.data.pixels import to_uint8
from stylegraft.errors import StylegraftError
from stylegraft.lab.panel import At, Once, Panel, Settings, key, real_part
from stylegraft.metrics.diversity import Resized, intra_lpips
from stylegraft.metrics.kernel import FEWEST, kid
from stylegraft.metrics.memorisation import memorisation

from .eyes import SAMPLES, Eye, smooth, source


def panel(reference: torch.Tensor | None = None, **changes) -> Panel:
    settings = Settings("toy", SAMPLES, reference=reference, **changes)
    return Panel(source().generator, smooth(6), settings, encoder=Eye(), distance=Eye())


def test_numbers_are_those_of_the_metrics_on_fixed_images():
    reference = torch.cat((smooth(6), smooth(FEWEST, 2)))
    one = panel(reference)
    found = one.measure(source().generator)
    network = source().generator
    images = to_uint8(torch.cat([network(z[None], psi=1.0, noise="const").image for z in one.z]))
    intra = intra_lpips(images, smooth(6), Eye())
    assert found[f"intra-toy@64/{SAMPLES}"] == pytest.approx(intra.mean, abs=1e-6)
    assert found[f"intra-toy@64/{SAMPLES}-without-empty"] == pytest.approx(intra.without_empty, abs=1e-6)
    assert found["clusters"] == list(intra.sizes)
    features = [Eye().encode(part.float() / 127.5 - 1) for part in (images, smooth(FEWEST, 2))]
    assert found["kid-toy"] == pytest.approx(kid(*features).mean, abs=1e-5)
    assert found["correspondence-toy@64"] == 0  # of the source with itself
    apart = (features[0][:, None] - Eye().encode(smooth(6).float() / 127.5 - 1)[None]).square().sum(2) / 48
    assert found["nearest-shot-toy@64"] == pytest.approx(
        float(apart.min(1).values.double().quantile(0.5)), abs=1e-5
    )
    near = memorisation(images, smooth(6), real_part(smooth(FEWEST, 2), 0), Eye())
    assert found["memorised-toy@64"] == near.share
    assert found["memorised-toy@64-nearest"] == near.share_nearest
    assert found["p_target-toy"] == pytest.approx(float(one.sight.probe.p(features[0]).mean()), abs=1e-5)
    assert set(one.metrics.values()) <= set(found)


def test_shots_are_no_part_of_the_reference():
    one = panel(torch.cat((smooth(6), smooth(FEWEST, 2))))
    assert one.reference is not None
    assert {key(image) for image in one.reference} == {key(image) for image in smooth(FEWEST, 2)}
    with pytest.raises(StylegraftError, match=r"--reference: 7 images, 1 of them no training images"):
        panel(torch.cat((smooth(6), smooth(1, 2))))


def test_without_a_reference_it_says_what_is_missing_and_judges_in_folds():
    one = panel()
    header = one.header()
    assert "judged in folds" in header["notes"]["reference"]
    assert header["metrics"]["quality"] == one.sight.name == "p_target-toy/folds"
    assert header["notes"]["kid"].startswith("absent: 0 reference images")
    assert "kid" not in header["metrics"]
    assert "memorised" not in header["metrics"]
    found = one.measure(source().generator)
    assert not [name for name in found if name.startswith(("kid", "memorised"))]
    assert one.sight.targets is not None
    few = panel(smooth(FEWEST - 1, 2))
    assert few.header()["notes"] == {"kid": "absent: 49 reference images, expected at least 50"}


def test_the_header_says_who_looked_and_the_ends_of_the_scale():
    header = panel().header()
    assert header["panel"] == {
        "encoder": "toy 0000000000000000",
        "distance": "toy@64 0000000000000000",
        "samples": SAMPLES,
        "seed": 0,
        "reference": "the training images, in folds",
    }
    assert header["anchors"]["p_real"] > header["anchors"]["p_source"]
    assert header["source"][header["metrics"]["diversity"]] > 0


@pytest.mark.parametrize("changes", [{"seed": 1}, {"samples": 30}, {"reference": smooth(60, 2)}])
def test_numbers_of_two_panels_are_never_put_together(changes, tmp_path):
    settings = Settings("toy", **{"samples": SAMPLES, **changes})
    other = Panel(source().generator, smooth(6), settings, encoder=Eye(), distance=Eye())
    with pytest.raises(StylegraftError, match=rf"was measured with {next(iter(changes))} = .*asks for"):
        other.check(tmp_path, panel().identity)


def test_an_image_is_embedded_once(monkeypatch):
    eye, images = Eye(), smooth(10)
    once = Once(Resized(eye, 64))
    plain = intra_lpips(images, smooth(3, 2), Eye())
    assert intra_lpips(images, smooth(3, 2), once).mean == pytest.approx(plain.mean, abs=1e-7)
    assert eye.seen == 13
    intra_lpips(images.flip(0), smooth(3, 2), once)
    assert eye.seen == 13
    monkeypatch.setattr("stylegraft.lab.panel.HELD", 0)  # without room the values are the same
    assert intra_lpips(images, smooth(3, 2), Once(eye)).mean == pytest.approx(plain.mean, abs=1e-7)
    assert eye.seen > 26


def test_the_full_metric_enlarges_small_images():
    class Sizes(Eye):
        def embed(self, images):
            assert images.shape[-2:] == (256, 256)
            return super().embed(images)

    images = smooth(4).float() / 127.5 - 1
    assert At(Sizes(), 256).name == "toy@256"
    value = intra_lpips(images, smooth(2, 2), At(Sizes(), 256))
    assert value.mean > 0
