"""Range of the intensities that nnU-Net's CT normalisation hands to the network."""

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine.errors import InputError
from nnunet_spine.training.tissue import Window

WINDOW_HU = (-512.0, 1024.0)
"""What Masuzawa et al. 2020 clip intensities to."""


def ct_ranges(plans_manager: PlansManager) -> list[tuple[float, float]]:
    """Per channel, what the clipping bounds (0.5 and 99.5 percentile of the foreground) are after normalisation.

    Raises:
        InputError: a channel is normalised in another way, so that its range is not known.
    """
    return [
        ((window.low - window.mean) / window.deviation, (window.high - window.mean) / window.deviation)
        for window in _windows(plans_manager)
    ]


def ct_window(plans_manager: PlansManager) -> Window:
    """How these plans normalise CT of one channel.

    Raises:
        InputError: they do not, or there are more channels.
    """
    windows = _windows(plans_manager)
    if len(windows) != 1:
        raise InputError(f"{len(windows)} channels; densities are redrawn for a CT alone", "use another trainer")
    return windows[0]


def _windows(plans_manager: PlansManager) -> list[Window]:
    configurations = plans_manager.plans["configurations"].values()
    schemes = {scheme for c in configurations for scheme in c.get("normalization_schemes", ())}
    if schemes != {"CTNormalization"}:
        raise InputError(
            f"the plans normalise with {', '.join(sorted(schemes))}; the intensity range is known for CT only",
            'name the channels "CT" in dataset.json and plan again, or use the preset nnunet',
        )
    return [
        Window(p["percentile_00_5"], p["percentile_99_5"], p["mean"], max(p["std"], 1e-8))
        for p in plans_manager.foreground_intensity_properties_per_channel.values()
    ]


def window_ranges(plans_manager: PlansManager) -> list[tuple[float, float]]:
    """`ct_ranges` of plans whose intensities are clipped as Masuzawa et al. clip them, to `WINDOW_HU`.

    Raises:
        InputError: they are clipped otherwise.
    """
    for properties in plans_manager.foreground_intensity_properties_per_channel.values():
        window = properties["percentile_00_5"], properties["percentile_99_5"]
        if window != WINDOW_HU:
            raise InputError(
                f"the plans clip intensities to {window[0]:g} ... {window[1]:g} HU; the publication to "
                f"{WINDOW_HU[0]:g} ... {WINDOW_HU[1]:g}",
                f"plan with `nnunet-spine plan --window {WINDOW_HU[0]:g} {WINDOW_HU[1]:g}`",
            )
    return ct_ranges(plans_manager)


def window_ranges_and_memory(plans_manager: PlansManager) -> list[tuple[float, float] | None]:
    """`window_ranges`, and None for the channel of the memory.

    Raises:
        InputError: see there.
    """
    return [*window_ranges(plans_manager), None]
