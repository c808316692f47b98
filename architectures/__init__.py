"""Networks as dynamically configurable modules; they know torch only, neither files nor nnU-Net plans."""

from .bcdu_net import bcdu_net
from .convlstm_unet import ConvLSTMUNet
from .global_conv import GlobalConvNet
from .mobile_aspp import MobileASPPNet

ARCHITECTURES = [ConvLSTMUNet, GlobalConvNet, MobileASPPNet]
"""Every network class of the package; the contract tests run over it."""

__all__ = ["ARCHITECTURES", "ConvLSTMUNet", "GlobalConvNet", "MobileASPPNet", "bcdu_net"]
