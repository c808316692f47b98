"""Single vertebrae by a network with global convolutions, edge weights and adversarial training [Mita et al.]."""

from typing import Any, ClassVar

from nnunet_spine.training.base import SpineTrainer
from nnunet_spine.training.recipes import Option


class GlobalConvTrainer(SpineTrainer):
    """Segments the vertebra in the middle of a crop; its neighbours are background.

    Meant for data sets with one case per vertebra, cropped around its body (in the source 64 x 112 x 96 voxels of 1 mm
    cranio-caudal, antero-posterior, left-right), and a binary label. Patches stay within 5 mm of the middle; in
    training there are rotations up to 15 degrees and left-right flips, which change no label here. Each step has an
    adversarial term, so it takes two passes. The `paper` preset leaves Dice out of the loss; the source does not give
    optimiser, augmentation and size of the perturbation, so these are the same in both presets.
    """

    summary = "one vertebra per crop: V-Net-like encoder, global convolutions, edge weights, adversarial training"
    citation = "Mita et al., after Milletari et al. 2016 (V-Net) and Peng et al. 2017 (global convolutions)"
    parameters = "36.66 M with five stages"
    recommended = "3d_fullres"

    architecture = "nnunet_spine.architectures.global_conv_net.GlobalConvNet"
    deep_supervision = False
    loss_name = "DiceEdgeCE"
    adversarial = "fgsm"
    max_rotation_deg = 15.0
    left_right_flips = True
    centred_sampling_mm = 5.0
    presets: ClassVar[dict[str, dict[str, Any]]] = {"nnunet": {}, "paper": {"loss_name": "EdgeCE"}}
    options = (
        Option(
            "gcn([136])",
            "gcn1|gcn3|gcn6",
            "branches of a global convolution: orders of the three axes (3 unless said)",
            lambda n: {"architecture_kwargs": {"gcn_branches": int(n)}},
            "branches",
        ),
        Option(
            r"kernel(\d*[13579])",
            "kernel9",
            "size of the global convolutions (13 unless said), odd",
            lambda n: {"architecture_kwargs": {"gcn_kernel_size": int(n)}},
            "kernel",
        ),
        Option(
            r"width([1-9]\d*)",
            "width8",
            "channels of the finest level (16 unless said); they double on each of the next four",
            lambda n: {"architecture_kwargs": {"width": int(n)}},
            "width",
        ),
        Option("ds", "ds", "deep supervision", lambda: {"deep_supervision": True}, "deep supervision"),
        Option(
            "noadversarial",
            "noadversarial",
            "no adversarial term: half the time",
            lambda: {"adversarial": None},
            "adversarial term",
        ),
        Option(
            "volumes",
            "volumes",
            "for whole scans with several labels: patches anywhere, no flips",
            lambda: {"centred_sampling_mm": None, "left_right_flips": False},
            "sampling",
        ),
    )
