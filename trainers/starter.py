"""A small U-Net for training on drawn spines alone, to be used on real scans."""

from nnunet_spine.training.declaration import Declaration
from nnunet_spine.training.options import flag, integer
from nnunet_spine.training.settings import Augmentation, Network, Optimisation, Sampling, Settings

PARTS = ("bone", "soft", "other_bone", "blobs", "cut", "blur", "slices", "noise")

TRAINER = Declaration(
    name="StarterTrainer",
    summary="small U-Net that sees every patch with new densities, for phantoms of the wide domain",
    citation="domain randomisation: Billot et al., Medical Image Analysis 2023; the rest is ours",
    parameters="4.0 M with five stages",
    description=(
        "For `nnunet-spine phantom --domain wide` and plans of `nnunet-spine plan --spacing 2 --patch 64 64 64 "
        "--window -512 1024`. Each patch is turned, scaled, bent, and gets new densities of bone and soft tissue, "
        "bright bodies, cut views, thick slices and noise; weights are averaged over time. The model that "
        "`nnunet-spine predict` uses when none is named was trained so."
    ),
    settings=Settings(
        network=Network("nnunet_spine.architectures.slim_unet.SlimUNet"),
        optimisation=Optimisation(
            optimiser="AdamW",
            rate=2e-3,
            weight_decay=1e-2,
            epochs=200,
            steps=50,
            validation_steps=5,
            save_every=1,
            batch_size=2,
            averaging=0.998,
        ),
        sampling=Sampling(foreground=0.35),  # most of a large scan is to be left out
        augmentation=Augmentation(
            kind="spatial", left_right_flips=True, rotation_deg=25.0, scaling=(0.75, 1.3), always=True, elastic=3.0,
            tissue=True,
        ),
    ),
    options=(
        *(
            flag(f"no{part.replace('_', '')}", {"augmentation.tissue_without": (part,)}, f"leaves '{part}' as drawn")
            for part in PARTS
        ),
        integer(
            "drawn{}", "sampling.drawn", "draw a new phantom after so many patches instead of reading training cases; "
            "for machines with many cores", example=8,
        ),
        flag("notissue", {"augmentation.tissue": False}, "densities as drawn"),
    ),
)  # fmt: skip
