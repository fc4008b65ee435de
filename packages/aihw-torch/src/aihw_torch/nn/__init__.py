"""Analog layers."""

from __future__ import annotations

from aihw_torch.nn.attention import AnalogMultiheadAttention
from aihw_torch.nn.base import AnalogLayerBase, analog_tiles, named_analog_tiles
from aihw_torch.nn.container import AnalogContainerBase, AnalogSequential, AnalogWrapper
from aihw_torch.nn.conv import (
    AnalogConv1d,
    AnalogConv2d,
    AnalogConv3d,
    AnalogConvTranspose1d,
    AnalogConvTranspose2d,
    AnalogConvTranspose3d,
)
from aihw_torch.nn.conversion import (
    ConversionReport,
    convert_to_analog,
    convert_to_digital,
    specific_rpu_config_id,
)
from aihw_torch.nn.embedding import AnalogEmbedding
from aihw_torch.nn.layer import AnalogLayer
from aihw_torch.nn.linear import AnalogLinear
from aihw_torch.nn.mapped import AnalogConv1dMapped, AnalogConv2dMapped, AnalogConv3dMapped, AnalogLinearMapped
from aihw_torch.nn.rnn import (
    AnalogGRU,
    AnalogGRUCell,
    AnalogLSTM,
    AnalogLSTMCell,
    AnalogLSTMCellCombinedWeight,
    AnalogRNN,
    AnalogVanillaRNN,
    AnalogVanillaRNNCell,
)

__all__ = [
    "AnalogContainerBase",
    "AnalogConv1d",
    "AnalogConv1dMapped",
    "AnalogConv2d",
    "AnalogConv2dMapped",
    "AnalogConv3d",
    "AnalogConv3dMapped",
    "AnalogConvTranspose1d",
    "AnalogConvTranspose2d",
    "AnalogConvTranspose3d",
    "AnalogEmbedding",
    "AnalogGRU",
    "AnalogGRUCell",
    "AnalogLSTM",
    "AnalogLSTMCell",
    "AnalogLSTMCellCombinedWeight",
    "AnalogLayer",
    "AnalogLayerBase",
    "AnalogLinear",
    "AnalogLinearMapped",
    "AnalogMultiheadAttention",
    "AnalogRNN",
    "AnalogSequential",
    "AnalogVanillaRNN",
    "AnalogVanillaRNNCell",
    "AnalogWrapper",
    "ConversionReport",
    "analog_tiles",
    "convert_to_analog",
    "convert_to_digital",
    "named_analog_tiles",
    "specific_rpu_config_id",
]
