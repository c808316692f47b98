"""Networks as dynamically configurable modules; they know torch only, neither files nor nnU-Net plans."""

from .bcdu_net import bcdu_net
from .convlstm_unet import ConvLSTMUNet

ARCHITECTURES = [ConvLSTMUNet]
"""Every network class of the package; the contract tests run over it."""

__all__ = ["ARCHITECTURES", "ConvLSTMUNet", "bcdu_net"]
