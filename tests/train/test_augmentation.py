"""Augmentation: what it does to an image, and that it follows seed, epoch and row alone."""

import numpy as np
import pytest
import torch

from weather_hpc.study.recipe import Augmentation
from weather_hpc.train.augmentation import LUMA, Numbers, augment, random_numbers

IMAGES = torch.randint(
    0, 256, (40, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
NUMBERS = torch.from_numpy(random_numbers(40, seed=0, epoch=1))
ALL = Augmentation(flip=True, shift=0.2, brightness=0.2, contrast=0.2, saturation=0.2)


def test_an_image_changes_alike_on_whatever_rank() -> None:
    whole = augment(IMAGES, NUMBERS, ALL)
    part = augment(IMAGES[5:9], NUMBERS[5:9], ALL)
    assert torch.equal(whole[5:9], part)


@pytest.mark.parametrize("other", [random_numbers(40, 0, 2), random_numbers(40, 1, 1)])
def test_epochs_and_seeds_change_it_otherwise(other: Numbers) -> None:
    assert not torch.equal(
        augment(IMAGES, NUMBERS, ALL), augment(IMAGES, torch.from_numpy(other), ALL)
    )


def test_a_flip_is_a_mirror_of_about_half() -> None:
    changed = augment(IMAGES, NUMBERS, Augmentation(flip=True))
    mirrored = [torch.equal(a, b.flip(1)) for a, b in zip(changed, IMAGES, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(changed, IMAGES, strict=True)]
    assert sum(mirrored) + sum(kept) == 40
    assert 10 < sum(mirrored) < 30


def test_a_shift_moves_the_picture_by_whole_pixels() -> None:
    changed = augment(IMAGES, NUMBERS, Augmentation(shift=0.2))
    found = set()
    for before, after in zip(IMAGES, changed, strict=True):
        (shift,) = [
            (y, x)
            for y in range(-3, 4)
            for x in range(-3, 4)
            if torch.equal(after[3:13, 3:13], before[3 + y : 13 + y, 3 + x : 13 + x])
        ]
        found.add(shift)
    assert len(found) > 15


def test_what_a_shift_uncovers_is_mirrored() -> None:
    changed = augment(IMAGES, NUMBERS, Augmentation(shift=0.2))
    for before, after in zip(IMAGES.numpy(), changed.numpy(), strict=True):
        padded = np.pad(before, ((3, 3), (3, 3), (0, 0)), mode="reflect")
        windows = (padded[y : y + 16, x : x + 16] for y in range(7) for x in range(7))
        assert any(np.array_equal(after, window) for window in windows)


def test_colours_change_within_bounds() -> None:
    """On images of middling colours, which no change drives beyond black or white."""
    images = IMAGES // 4 + 96
    lighter = augment(images, NUMBERS, Augmentation(brightness=0.2)).int() - images.int()
    steps = lighter.amax((1, 2, 3))
    assert torch.equal(lighter.amin((1, 2, 3)), steps), "one step for all pixels"
    assert steps.abs().max() <= 51
    assert steps.double().std() > 20
    stretched = augment(images, NUMBERS, Augmentation(contrast=0.2)).double()
    before = images.double()
    assert torch.allclose(stretched.mean((1, 2, 3)), before.mean((1, 2, 3)), atol=0.1)
    ratio = stretched.std((1, 2, 3)) / before.std((1, 2, 3))
    assert 0.79 < float(ratio.min()) < 0.9 < 1.1 < float(ratio.max()) < 1.21


def test_saturation_keeps_greys_and_brightness() -> None:
    how = Augmentation(saturation=0.5)
    grey = IMAGES[..., :1].repeat(1, 1, 1, 3)
    assert torch.equal(augment(grey, NUMBERS, how), grey)
    images = IMAGES // 4 + 96
    changed = augment(images, NUMBERS, how).double()
    before = images.double()
    luma = torch.tensor(LUMA, dtype=torch.float64)
    assert torch.allclose(changed @ luma, before @ luma, atol=1)
    ratio = (changed.std(3) / before.std(3)).nanmedian()
    spread = (changed - before).abs().amax((1, 2, 3))
    assert 0.5 < float(ratio) < 1.5
    assert spread.max() > 10


def test_colours_end_at_black_and_white() -> None:
    changed = augment(IMAGES, NUMBERS, Augmentation(brightness=0.9))
    assert {0, 255} <= set(np.unique(changed.numpy()).tolist())
    up = NUMBERS[:, 5] > 0.5
    assert (changed[up].int() >= IMAGES[up].int()).all(), "nothing wraps around"


def test_nothing_asked_is_nothing_done() -> None:
    assert augment(IMAGES, NUMBERS, Augmentation()) is IMAGES
