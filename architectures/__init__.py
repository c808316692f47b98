"""Networks as dynamically configurable modules; they know torch only, neither files nor nnU-Net plans."""

from .attention_net import AttentionNet
from .bcdu_net import BCDUNet
from .convlstm_unet import ConvLSTMUNet
from .fcn import FCN
from .global_conv_net import GlobalConvNet
from .hybrid_2d3d import Hybrid2D3D
from .mobile_aspp import MobileASPPNet
from .small_unet import SmallUNet

ARCHITECTURES = [AttentionNet, BCDUNet, ConvLSTMUNet, FCN, GlobalConvNet, Hybrid2D3D, MobileASPPNet, SmallUNet]
"""Every network class of the package; the contract tests run over it, in two and three dimensions unless the class
lists `dimensions`, with the size of the image as the size of the logits unless it says another (`output_size`)."""

__all__ = [
    "ARCHITECTURES",
    "FCN",
    "AttentionNet",
    "BCDUNet",
    "ConvLSTMUNet",
    "GlobalConvNet",
    "Hybrid2D3D",
    "MobileASPPNet",
    "SmallUNet",
]
