"""The network of the reproduced study, layer by layer."""

from collections import OrderedDict

from torch import nn

PAPER_SIZE = 256


def paper_cnn(classes: int, image_size: int = PAPER_SIZE) -> nn.Sequential:
    """The paper's network: (images, 3, side, side) float -> (images, classes) logits.

    A plain sequence of layers, so that model parallelism can cut it anywhere. 108,517 trainable
    parameters at 11 classes. For a side that leaves 120 features of 1x1 after the convolutions:
    :data:`~weather_hpc.study.networks.NETWORKS` has the smallest and the largest.
    """
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
