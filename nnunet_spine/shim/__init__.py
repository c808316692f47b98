"""The folder that `nnUNet_extTrainer` names: one module, see there."""
