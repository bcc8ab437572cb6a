"""How images are divided over steps and devices, compared with the division that training makes."""

import numpy as np
import pytest
import torch

from weather_hpc.study.steps import smallest_share, step_sizes, too_few
from weather_hpc.study.tasks import TrainTask
from weather_hpc.train.loader import Shard


def task(strategy: str, devices: int, batch: int, **more: object) -> TrainTask:
    return TrainTask.model_validate(
        {"strategy": strategy, "device": "auto", "world_size": devices, "batch_size": batch,
         "epochs": 1, **more}
    )  # fmt: skip


@pytest.mark.parametrize("images", [1, 2, 5, 8, 9, 17, 33, 100])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_the_smallest_share_is_that_of_the_division(images: int, devices: int) -> None:
    sizes = step_sizes(images, 8 * devices)
    shards = [len(Shard(rank, devices).of(np.arange(n))) for n in sizes for rank in range(devices)]
    assert smallest_share(task("ddp", devices, 8), images) == min(shards)
    parts = [len(part) for n in sizes for part in torch.empty(n).chunk(devices)]
    assert smallest_share(task("dp", devices, 8), images) == min(parts)


def test_ranks_that_synchronise_normalise_the_whole_step() -> None:
    assert smallest_share(task("ddp", 4, 1), 8) == 1
    assert smallest_share(task("ddp", 4, 1, batch_norm="sync"), 8) == 4
    assert smallest_share(task("ddp", 4, 1, batch_norm="sync"), 3) == 0  # a rank has none


def test_stages_normalise_a_microbatch() -> None:
    assert smallest_share(task("model", 2, 16), 32) == 4
    assert smallest_share(task("model", 2, 3), 6) == 3  # a batch of 3 is not divided


def test_too_few_images_are_told_with_what_is_needed() -> None:
    assert too_few(task("ddp", 2, 1), 8, batch_norm=False) is None
    assert "batch norm needs at least 2" in (too_few(task("ddp", 2, 1), 8, batch_norm=True) or "")
    reason = too_few(task("ddp", 4, 1), 3, batch_norm=False)
    assert reason is not None
    assert "leaves 0 images for one device in some steps; every device needs at least 1" in reason
