"""nnU-Net's own network and loss under this package's training rules: the baseline that the others differ from."""

from nnunet_spine.training.declaration import Declaration

TRAINER = Declaration(
    name="SpineTrainer",
    summary="nnU-Net's network from the plans, without flips",
    citation="Isensee et al., Nature Methods 2021",
    parameters="as planned",
)
