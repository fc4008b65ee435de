"""One small example of every layer, with an input that it takes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from aihw_torch import nn as ann
from aihw_torch.config import FloatingPointRPUConfig, IdealDevice, IOParameters, MappingParameter, SingleRPUConfig
from aihw_torch.tiles import SharedPeripheryArray


def exact_config(kind: str):
    """Return a configuration whose layer computes what nn.Linear does."""
    if kind == "floating_point":
        return FloatingPointRPUConfig()
    perfect = IOParameters(is_perfect=True)
    return SingleRPUConfig(device=IdealDevice(), forward=perfect, backward=copy.deepcopy(perfect))


class Example(NamedTuple):
    """How to make a layer from a configuration, and what it takes."""

    make: Callable[[Any], nn.Module]
    inputs: Callable[[], tuple[Any, ...]]


def images(channels, *size, samples=2):
    return lambda: (torch.randn(samples, channels, *size),)


def indices(shape, count):
    return lambda: (torch.randint(count, shape),)


def attention(query=5, key=5):
    return lambda: (torch.randn(3, query, 8), torch.randn(3, key, 8), torch.randn(3, key, 8))


def sequences(features=3, time=2, batch=3):
    return lambda: (torch.randn(time, batch, features),)


EXAMPLES = {
    "linear": Example(lambda c: ann.AnalogLinear(5, 3, rpu_config=c), lambda: (torch.randn(4, 5),)),
    "linear_no_bias": Example(lambda c: ann.AnalogLinear(5, 3, False, c), lambda: (torch.randn(2, 4, 5),)),
    "linear_mapped": Example(lambda c: ann.AnalogLinearMapped(5, 3, True, c), lambda: (torch.randn(4, 5),)),
    "linear_shared": Example(
        lambda c: ann.AnalogLinear(5, 3, True, c, SharedPeripheryArray), lambda: (torch.randn(4, 5),)
    ),
    "conv1d": Example(lambda c: ann.AnalogConv1d(2, 3, 3, rpu_config=c), images(2, 9)),
    "conv1d_strided": Example(
        lambda c: ann.AnalogConv1d(4, 6, 3, 2, 2, 2, 2, False, "circular", c), images(4, 11, samples=3)
    ),
    "conv2d": Example(lambda c: ann.AnalogConv2d(2, 3, (3, 2), padding=1, rpu_config=c), images(2, 6, 5)),
    "conv2d_groups": Example(lambda c: ann.AnalogConv2d(4, 6, 3, 2, 1, 2, 2, True, "reflect", c), images(4, 9, 8)),
    "conv2d_depthwise": Example(
        lambda c: ann.AnalogConv2d(3, 6, 3, padding="same", groups=3, padding_mode="replicate", rpu_config=c),
        images(3, 5, 5),
    ),
    "conv2d_valid": Example(lambda c: ann.AnalogConv2d(2, 3, 3, padding="valid", rpu_config=c), images(2, 5, 4)),
    "conv2d_mapped": Example(lambda c: ann.AnalogConv2dMapped(2, 3, 3, rpu_config=c), images(2, 5, 5)),
    "conv1d_mapped": Example(lambda c: ann.AnalogConv1dMapped(2, 3, 3, rpu_config=c), images(2, 5)),
    "conv3d": Example(lambda c: ann.AnalogConv3d(2, 3, 2, padding=1, rpu_config=c), images(2, 3, 4, 3)),
    "conv3d_groups": Example(lambda c: ann.AnalogConv3d(2, 4, 2, (1, 2, 1), 0, 2, 2, rpu_config=c), images(2, 4, 5, 4)),
    "conv3d_mapped": Example(lambda c: ann.AnalogConv3dMapped(2, 3, 2, rpu_config=c), images(2, 3, 4, 3)),
    "transposed1d": Example(lambda c: ann.AnalogConvTranspose1d(2, 3, 3, 2, 1, 1, rpu_config=c), images(2, 5)),
    "transposed2d": Example(
        lambda c: ann.AnalogConvTranspose2d(4, 6, 3, 2, 1, (1, 0), 2, True, 2, rpu_config=c), images(4, 4, 3)
    ),
    "transposed3d": Example(lambda c: ann.AnalogConvTranspose3d(2, 3, 2, 2, rpu_config=c), images(2, 2, 3, 2)),
    "embedding": Example(lambda c: ann.AnalogEmbedding(7, 4, rpu_config=c), indices((3, 5), 7)),
    "embedding_padded": Example(lambda c: ann.AnalogEmbedding(7, 4, 2, c), indices((3, 5), 7)),
    "attention": Example(lambda c: ann.AnalogMultiheadAttention(8, 2, batch_first=True, rpu_config=c), attention()),
    "cross_attention": Example(lambda c: ann.AnalogMultiheadAttention(8, 2, bias=False, rpu_config=c), attention(3, 3)),
    "rnn": Example(lambda c: ann.AnalogVanillaRNN(3, 5, rpu_config=c), sequences()),
    "lstm": Example(lambda c: ann.AnalogLSTM(3, 5, bidirectional=True, rpu_config=c), sequences()),
    "lstm_no_bias": Example(lambda c: ann.AnalogLSTM(3, 5, bias=False, batch_first=True, rpu_config=c), sequences()),
    "gru": Example(lambda c: ann.AnalogGRU(3, 5, 2, rpu_config=c), sequences()),
    "gru_bidirectional": Example(lambda c: ann.AnalogGRU(3, 5, bidirectional=True, rpu_config=c), sequences()),
}


def tiled(config, max_in=4, max_out=3):
    """Return the configuration with tiles so small that nearly every layer needs several."""
    config.mapping = MappingParameter(max_input_size=max_in, max_output_size=max_out)
    return config


def tensors(result):
    """Return the tensors of an output, whatever it is."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for part in result if part is not None for t in tensors(part)]


def packed(time=6, batch=4, features=3, enforce_sorted=False):
    lengths = torch.tensor([3, 6, 1, 4] if not enforce_sorted else [6, 4, 3, 1])
    return pack_padded_sequence(torch.randn(time, batch, features), lengths, enforce_sorted=enforce_sorted)
