"""Small digital networks to convert and to train."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def lenet5(size: int = 28, classes: int = 10) -> nn.Sequential:
    """Return a LeNet for images [n, 1, size, size]: two convolutions of 5 x 5 with tanh and pooling, two layers."""
    end = ((size - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Conv2d(1, 16, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * end * end, 128),
        nn.Tanh(),
        nn.Linear(128, classes),
    )


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 and a way around them, which is a convolution of 1 x 1 where the shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.around: nn.Module = nn.Identity() if same else around

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways after a ReLU."""
        return nn.functional.relu(self.body(x) + self.around(x))


def resnet(blocks: Sequence[int] = (1, 1, 1), width: int = 16, classes: int = 10) -> nn.Sequential:
    """Return a residual network for images [n, 3, h, w] (He et al., doi:10.1109/CVPR.2016.90).

    Args:
        blocks: residual blocks of each stage; (3, 4, 6, 3) with width 64 has the matrices of ResNet-34.
        width: channels of the first stage, doubled by each further one, which also halves the image.
        classes: number of outputs.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage, n in enumerate(blocks):
        for block in range(n):
            outputs = width * 2**stage
            layers.append(ResidualBlock(channels, outputs, stride=2 if block == 0 and stage > 0 else 1))
            channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
