"""Intra-LPIPS follows its rules to the letter, whatever the batch and the memory."""

from __future__ import annotations

import math

import pytest
import torch

from stylegraft.errors import StylegraftError
from stylegraft.metrics.diversity import EncoderDistance, Resized, intra_lpips, mean_pairwise, nearest

from .toys import Means, Pixels, apart, flat, pictures, random_lpips


@pytest.mark.parametrize(("batch", "memory"), [(16, 1 << 30), (1, 1), (3, 4000), (5, 1 << 12)])
def test_equals_a_plain_loop_whatever_batch_and_memory(batch: int, memory: int):
    generated, shots = pictures(24), pictures(4, seed=1)
    clusters = [[] for _ in shots]
    for image in generated:
        distances = [apart(image, shot) for shot in shots]
        clusters[distances.index(min(distances))].append(image)
    means = []
    for members in clusters:
        pairs = [apart(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
        means.append(sum(pairs) / len(pairs) if pairs else None)
    found = intra_lpips(generated, shots, Pixels(), batch=batch, memory=memory)
    assert found.sizes == tuple(map(len, clusters))
    assert found.mean == pytest.approx(sum(m or 0 for m in means) / len(means), rel=1e-5)
    paired = [m for m in means if m is not None]
    assert found.without_empty == pytest.approx(sum(paired) / len(paired), rel=1e-5)
    assert found.spread == pytest.approx(0, abs=1e-9)  # no cluster is over the cap
    assert (found.name, found.count) == ("intra-pixels", 24)


def test_draws_of_a_large_cluster_are_the_same_whether_it_is_embedded_once_or_per_draw():
    generated, shots = pictures(30), pictures(1, seed=1)
    once, each = (intra_lpips(generated, shots, Pixels(), cap=8, memory=m) for m in (1 << 30, 1))
    rng = torch.Generator().manual_seed(0)
    means = []
    for _ in range(5):
        members = generated[torch.randperm(30, generator=rng)[:8]]
        means.append(sum(apart(members[i], members[j]) for i in range(8) for j in range(i)) / 28)
    assert once.mean == pytest.approx(sum(means) / 5, rel=1e-5)
    assert once.mean == pytest.approx(each.mean, rel=1e-5)
    assert once.spread == pytest.approx(each.spread, rel=1e-3)
    assert once.spread > 0


def test_pairs_of_a_set_equal_a_plain_loop():
    images = pictures(11)
    expected = sum(apart(images[i], images[j]) for i in range(11) for j in range(i)) / 55
    for batch, memory in ((16, 1 << 30), (2, 1), (4, 3000)):
        assert mean_pairwise(images, Pixels(), batch, memory) == pytest.approx(expected, rel=1e-5)


def test_equal_images_have_exactly_no_diversity():
    generated = pictures(1).expand(9, -1, -1, -1)
    found = intra_lpips(generated, pictures(3, seed=1), Pixels())
    assert found.mean == found.without_empty == found.spread == 0
    assert sorted(found.sizes) == [0, 0, 9]


def test_two_levels_have_their_closed_form():
    """Cluster one: 100 twice and 110 once, so two of three pairs differ; cluster two is one image, three has none."""
    generated, shots = flat([100, 100, 110, 200]), flat([104, 200, 20])
    pair = apart(generated[0], generated[2])
    found = intra_lpips(generated, shots, Pixels())
    assert found.sizes == (3, 1, 0)
    assert found.mean == pytest.approx(2 / 3 * pair / 3, rel=1e-5)
    assert found.without_empty == pytest.approx(2 / 3 * pair, rel=1e-5)


def test_a_collapse_cannot_gain_by_an_empty_cluster():
    """Two of three training images forgotten, a little more variety around the third: left-out clusters would praise
    it, the headline does not.
    """
    shots = flat([20, 100, 180])
    diverse = intra_lpips(flat([16, 24, 96, 104, 176, 184]), shots, Pixels())
    collapsed = intra_lpips(flat([94, 104]), shots, Pixels())
    assert collapsed.without_empty > diverse.without_empty
    assert collapsed.mean < diverse.mean


def test_no_pair_at_all_is_zero_and_not_a_number():
    found = intra_lpips(flat([10, 250]), flat([10, 250]), Pixels())
    assert found.mean == 0
    assert math.isnan(found.without_empty)


def test_large_clusters_draw_their_members_with_the_seed():
    generated, shots = pictures(30), pictures(1, seed=1)
    one, same, other = (intra_lpips(generated, shots, Pixels(), cap=6, seed=s) for s in (0, 0, 1))
    assert one == same
    assert one.mean != other.mean
    assert one.spread > 0
    whole = intra_lpips(generated, shots, Pixels(), cap=30)
    assert one.mean == pytest.approx(whole.mean, abs=4 * one.spread)
    assert intra_lpips(generated, shots, Pixels(), cap=6, repeats=1).spread == 0


def test_the_repeats_are_the_mean_and_deviation_of_single_draws():
    generated, shots = pictures(20), pictures(1, seed=1)
    rng = torch.Generator().manual_seed(7)
    draws = [mean_pairwise(generated[torch.randperm(20, generator=rng)[:5]], Pixels()) for _ in range(4)]
    found = intra_lpips(generated, shots, Pixels(), cap=5, repeats=4, seed=7)
    assert found.mean == pytest.approx(sum(draws) / 4, rel=1e-6)
    assert found.spread == pytest.approx(float(torch.tensor(draws).double().std()), rel=1e-5)


def test_of_equally_near_training_images_the_first_is_taken():
    assert nearest(flat([50, 90]), flat([40, 60, 60, 40]), Pixels(), memory=1).tolist() == [0, 1]


def test_any_encoder_gives_a_distance_that_its_name_carries():
    """Half the squared distance of unit vectors is 1 - cosine."""
    images = pictures(2)
    a, b = (x.double() / 127.5 - 1 for x in images)
    cosine = torch.nn.functional.cosine_similarity(a.mean((1, 2)), b.mean((1, 2)), dim=0)
    found = intra_lpips(images, pictures(1, seed=1), EncoderDistance(Means()))
    assert found.name == "intra-cosine-means"
    assert found.mean == pytest.approx(1 - float(cosine), rel=1e-5)


def test_lpips_is_such_a_distance_and_may_be_taken_smaller():
    model = random_lpips()
    images = pictures(3, size=32)
    x = images.float() / 127.5 - 1
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2]])
    expected = float(model(x[pairs[:, 0]], x[pairs[:, 1]]).mean())
    found = intra_lpips(images, pictures(1, size=32), model)
    assert (found.name, found.sizes) == ("intra-lpips-vgg", (3,))
    assert found.mean == pytest.approx(expected, rel=1e-4)
    smaller = Resized(model, 16)
    assert smaller.name == "lpips-vgg@16"
    assert smaller.embed(x)[0].shape[-1] == 16
    assert Resized(model, 64).embed(x)[0].shape[-1] == 32


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: intra_lpips(pictures(0), pictures(2), Pixels()), "0 images, 2 training images"),
        (lambda: intra_lpips(pictures(4), pictures(2), Pixels(), cap=1), "cap 1"),
        (lambda: mean_pairwise(pictures(1), Pixels()), "pairs of 1 images"),
    ],
)
def test_what_has_no_pairs_is_refused(call, said: str):
    with pytest.raises(StylegraftError, match=said):
        call()
