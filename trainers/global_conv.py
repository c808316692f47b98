"""Single vertebrae by a network with global convolutions, edge weights and adversarial training [Mita et al.]."""

from nnunet_spine.training.declaration import Declaration, Given
from nnunet_spine.training.options import choice, flag, integer
from nnunet_spine.training.settings import Adversarial, Augmentation, Loss, Network, Sampling, Settings

SOURCE = "Mita et al."

TRAINER = Declaration(
    name="GlobalConvTrainer",
    summary="one vertebra per crop: V-Net-like encoder, global convolutions, edge weights, adversarial training",
    citation="Mita et al., after Milletari et al. 2016 (V-Net) and Peng et al. 2017 (global convolutions)",
    parameters="36.66 M with five stages",
    description=(
        "Segments the vertebra in the middle of a crop; its neighbours are background. Meant for data sets with one "
        "case per vertebra, cropped around its body (in the source 64 x 112 x 96 voxels of 1 mm cranio-caudal, "
        "antero-posterior, left-right), and a binary label. Patches stay within 5 mm of the middle; in training there "
        "are rotations up to 15 degrees and left-right flips, which change no label here. Each step has an adversarial "
        "term, so it takes two passes. The source gives neither optimiser nor size of the perturbation: these are the "
        "same in both presets. Its ablation of edge weights compares paper_CE with paper, and with paper_EdgeCE1p5 and "
        "so on."
    ),
    settings=Settings(
        network=Network("nnunet_spine.architectures.global_conv_net.GlobalConvNet", deep_supervision=False),
        loss=Loss("DiceEdgeCE"),
        augmentation=Augmentation(rotation_deg=15.0, left_right_flips=True),
        sampling=Sampling(centred_mm=5.0),
        adversarial=Adversarial("fgsm"),
    ),
    presets={
        "paper": {
            "loss.name": Given("EdgeCE", f"{SOURCE}: edge-weighted cross entropy without Dice"),
            "loss.options.edge_weight": Given(1.1, SOURCE),
            "augmentation.kind": Given("none", f"{SOURCE}: neither flips nor other augmentation are stated"),
            "sampling.centred_mm": Given(0.0, f"{SOURCE}: crops are centred on the vertebral body"),
            "adversarial.warmup": Given(0.0, f"{SOURCE}: from the first step"),
        }
    },
    options=(
        choice(
            {"gcn1": 1, "gcn3": 3, "gcn6": 6},
            "network.options.gcn_branches",
            "branches of a global convolution: orders of the three axes (3 unless said)",
        ),
        integer(
            "kernel{}",
            "network.options.gcn_kernel_size",
            "size of the global convolutions (13 unless said), odd",
            example=9,
            odd=True,
        ),
        integer(
            "width{}",
            "network.options.width",
            "channels of the finest level (16 unless said); they double on each of the next four",
            example=8,
        ),
        flag("ds", {"network.deep_supervision": True}, "deep supervision"),
        flag("noadversarial", {"adversarial.kind": None}, "no adversarial term: half the time"),
        flag(
            "volumes",
            {"sampling.centred_mm": None, "augmentation.left_right_flips": False},
            "for whole scans with several labels: patches anywhere, no flips",
        ),
    ),
)
