"""Range of the intensities that nnU-Net's CT normalisation hands to the network."""

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine.errors import InputError


def ct_ranges(plans_manager: PlansManager) -> list[tuple[float, float]]:
    """Per channel, what the clipping bounds (0.5 and 99.5 percentile of the foreground) are after normalisation.

    Raises:
        InputError: a channel is normalised in another way, so that its range is not known.
    """
    configurations = plans_manager.plans["configurations"].values()
    schemes = {scheme for c in configurations for scheme in c.get("normalization_schemes", ())}
    if schemes != {"CTNormalization"}:
        raise InputError(
            f"the plans normalise with {', '.join(sorted(schemes))}; the intensity range is known for CT only",
            'name the channels "CT" in dataset.json and plan again, or use the preset nnunet',
        )
    return [
        tuple((p[f"percentile_{bound}"] - p["mean"]) / max(p["std"], 1e-8) for bound in ("00_5", "99_5"))
        for p in plans_manager.foreground_intensity_properties_per_channel.values()
    ]
