"""Terms of losses, one per module: `terms/edge_ce.py` holds `EdgeCE`. See `nnunet_spine.losses`."""
