"""The network of the reproduced study, layer by layer."""

from collections import OrderedDict

from torch import nn

from weather_hpc.errors import UserError

PAPER_SIZE = 256


def _side_after_convolutions(image_size: int) -> int:
    """Height and width after the four convolutions; below 1 where the image is too small."""
    side = (image_size - 3) // 5
    side = (side - 4) // 2
    side = (side - 7) // 4
    return side - 3


def fitting_sizes() -> tuple[int, int]:
    """The smallest and the largest image side, in pixels, that leave 120 features of 1x1."""
    fits = [size for size in range(2 * PAPER_SIZE) if _side_after_convolutions(size) == 1]
    return fits[0], fits[-1]


def paper_cnn(classes: int, image_size: int = PAPER_SIZE) -> nn.Sequential:
    """The paper's network: (images, 3, side, side) float -> (images, classes) logits.

    A plain sequence of layers, so that model parallelism can cut it anywhere. 108,517 trainable
    parameters at 11 classes. Raises UserError for an image side that it cannot take.
    """
    if _side_after_convolutions(image_size) != 1:
        smallest, largest = fitting_sizes()
        raise UserError(
            f"paper_cnn takes images of {smallest} to {largest} px ({PAPER_SIZE} in the paper); "
            f"the store's have {image_size} px: pack them with --size {PAPER_SIZE}"
        )
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 6, 4),
            norm1=nn.BatchNorm2d(6),
            tanh1=nn.Tanh(),
            pool1=nn.AvgPool2d(5),
            conv2=nn.Conv2d(6, 16, 5),
            norm2=nn.BatchNorm2d(16),
            tanh2=nn.Tanh(),
            pool2=nn.AvgPool2d(2),
            conv3=nn.Conv2d(16, 32, 8),
            norm3=nn.BatchNorm2d(32),
            tanh3=nn.Tanh(),
            pool3=nn.AvgPool2d(4),
            conv4=nn.Conv2d(32, 120, 4),
            norm4=nn.BatchNorm2d(120),
            tanh4=nn.Tanh(),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.32),
            linear1=nn.Linear(120, 84),
            tanh5=nn.Tanh(),
            linear2=nn.Linear(84, classes),
        )
    )
