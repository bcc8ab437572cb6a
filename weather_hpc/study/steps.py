"""How an epoch's images are divided into steps, and a step's over the devices.

Planning and training ask the same functions, so that what cannot be trained is refused before any
run is made.
"""

from weather_hpc.study.tasks import BatchNorm, Strategy, TrainTask
from weather_hpc.text import counted

MICROBATCHES_PER_STAGE = 2
"""More leave devices idle less and cost more per image; each has at least MIN_MICROBATCH images."""

MIN_MICROBATCH = 2
"""Batch norm needs two images."""

FEWEST_HELD_APART = 40
"""With fewer, no image can be told to be among the 5 % least usual: then all images train."""


def held_apart_count(share: float, images: int) -> int:
    """How many of ``images`` training images are held apart for a ``share`` of them."""
    count = round(share * images)
    return count if count >= FEWEST_HELD_APART else 0


def step_sizes(images: int, batch_size: int) -> list[int]:
    """Images of each step of an epoch: full batches, and the last two share the rest.

    Evenly, because a last batch of a single image could not be normalised.
    """
    full, rest = divmod(images, batch_size)
    if not rest:
        return [batch_size] * full
    if not full:
        return [rest]
    shared = batch_size + rest
    return [batch_size] * (full - 1) + [shared - shared // 2, shared // 2]


def microbatches(images: int, stages: int) -> int:
    """Into how many equal microbatches a batch of ``images`` is divided for ``stages`` stages."""
    most = MICROBATCHES_PER_STAGE * stages
    fitting = [n for n in range(1, most + 1) if images % n == 0 and images // n >= MIN_MICROBATCH]
    return max(fitting, default=1)


def smallest_share(task: TrainTask, images: int) -> int:
    """The fewest images that are normalised together in any step of an epoch of ``images``.

    ``single``: the step's. ``dp``: those of one GPU, where the last one's part is smaller.
    ``ddp``: those of the rank that has the fewest; of all ranks where they synchronise.
    ``model``: those of one microbatch.
    """
    sizes = set(step_sizes(images, task.batch_size_global))
    return min(_smallest_share(task, size) for size in sizes)


def _smallest_share(task: TrainTask, images: int) -> int:
    """Of one step of ``images``."""
    devices = task.world_size
    if task.strategy is Strategy.DP:
        part = -(-images // devices)
        return images - part * ((images - 1) // part)
    if task.strategy is Strategy.DDP:
        each = images // devices
        return images if task.batch_norm is BatchNorm.SYNC and each else each
    if task.strategy is Strategy.MODEL:
        return images // microbatches(images, devices)
    return images


def too_few(task: TrainTask, images: int, batch_norm: bool) -> str | None:
    """Why an epoch of ``images`` gives some device too few of them in a step; None: it does not.

    ``batch_norm``: whether the network normalises over a batch.
    """
    smallest = smallest_share(task, images)
    needed = 2 if batch_norm else 1
    if smallest >= needed:
        return None
    what = "batch norm needs at least 2" if batch_norm else "every device needs at least 1"
    return (
        f"leaves {counted(smallest, 'image')} for one device in some steps; {what}: "
        "use a larger batch, more images or fewer devices"
    )
