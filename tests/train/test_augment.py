"""Augmentation: what it does to an image, and that it follows seed, epoch and row alone."""

import numpy as np
import pytest
import torch

from weather_hpc.study.recipe import Augmentation
from weather_hpc.train.augment import Draw, augment

ROWS = np.arange(40)
IMAGES = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
DRAW = Draw.of(40, seed=0, epoch=1)
ALL = Augmentation(flip=True, shift=0.2, brightness=0.2, contrast=0.2, saturation=0.2)


def test_an_image_changes_alike_on_whatever_rank() -> None:
    whole = augment(IMAGES, ROWS, DRAW, ALL)
    part = augment(IMAGES[5:9], ROWS[5:9], DRAW, ALL)
    assert torch.equal(whole[5:9], part)


@pytest.mark.parametrize("other", [Draw.of(40, 0, 2), Draw.of(40, 1, 1)])
def test_epochs_and_seeds_change_it_otherwise(other: Draw) -> None:
    assert not torch.equal(augment(IMAGES, ROWS, DRAW, ALL), augment(IMAGES, ROWS, other, ALL))


def test_a_flip_is_a_mirror_of_about_half() -> None:
    changed = augment(IMAGES, ROWS, DRAW, Augmentation(flip=True))
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(changed, IMAGES, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(changed, IMAGES, strict=True)]
    assert sum(mirrored) + sum(kept) == 40
    assert 10 < sum(mirrored) < 30


def test_a_shift_moves_the_picture_by_whole_pixels() -> None:
    changed = augment(IMAGES, ROWS, DRAW, Augmentation(shift=0.2))
    found = set()
    for before, after in zip(IMAGES, changed, strict=True):
        (shift,) = [
            (y, x)
            for y in range(-3, 4)
            for x in range(-3, 4)
            if torch.equal(after[:, 3:13, 3:13], before[:, 3 + y : 13 + y, 3 + x : 13 + x])
        ]
        found.add(shift)
    assert len(found) > 15


def test_colours_change_within_bounds() -> None:
    grey = augment(IMAGES, ROWS, DRAW, Augmentation(brightness=0.2)) - IMAGES
    steps = grey.amax((1, 2, 3))
    assert torch.allclose(grey.amin((1, 2, 3)), steps, atol=1e-5), "one step for all pixels"
    assert steps.abs().max() <= 0.4
    assert steps.std() > 0.1
    stretched = augment(IMAGES, ROWS, DRAW, Augmentation(contrast=0.2))
    assert torch.allclose(stretched.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)), atol=1e-5)
    ratio = stretched.std((1, 2, 3)) / IMAGES.std((1, 2, 3))
    assert 0.8 <= float(ratio.min()) < 0.9 < 1.1 < float(ratio.max()) <= 1.2001


def test_nothing_asked_is_nothing_done() -> None:
    assert augment(IMAGES, ROWS, DRAW, Augmentation()) is IMAGES
