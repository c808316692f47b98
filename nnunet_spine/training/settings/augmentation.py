"""How training patches are varied."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_spine.errors import InputError
from nnunet_spine.training.readers import REORIENTING_READERS

if TYPE_CHECKING:
    from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine.training.ranges import Plane

KINDS = ("nnunet", "spatial", "affine", "none")


@dataclass(frozen=True)
class Augmentation:
    """How training patches are varied; nothing is mirrored at prediction.

    Attributes:
        kind: "nnunet", "spatial" (of nnU-Net's only rotation and scaling, and contrast if it has a range), "affine"
            (random affine maps alone) or "none".
        flips: mirror along all axes.
        left_right_flips: mirror left and right, if the reader turns scans to RAS.
        rotation_deg: limit for rotation, per axis.
        scaling: factors of the size, for each axis on its own; None is nnU-Net's.
        uniform: the same factor along all axes.
        contrast: factors of the contrast; None is nnU-Net's.
        in_plane: rotation and scaling stay within sagittal slices.
        always: rotate and scale every patch; nnU-Net does each with a probability of 0.2.
        elastic: bend every other patch by up to so many voxels, smoothly.
        tissue: redraw the densities of bone and soft tissue, see `training.tissue`; with CT normalisation.
        tissue_without: parts of that to leave out.
        noise: standard deviation of Gaussian noise is drawn up to this, where the range of intensities is -1 to 1.
    """

    kind: str = "nnunet"
    flips: bool = False
    left_right_flips: bool = False
    rotation_deg: float = 30.0
    scaling: tuple[float, float] | None = None
    uniform: bool = False
    contrast: tuple[float, float] | None = None
    in_plane: bool = False
    always: bool = False
    elastic: float = 0.0
    tissue: bool = False
    tissue_without: tuple[str, ...] = ()
    noise: float = 0.0

    def idle(self) -> dict[str, str]:
        """Fields without effect, each with the reason."""
        ranges = (
            "rotation_deg", "scaling", "uniform", "contrast", "in_plane", "always", "elastic", "tissue", "noise"
        )  # fmt: skip
        if self.kind == "none":
            return dict.fromkeys(("flips", "left_right_flips", *ranges), "there is no augmentation")
        idle = dict.fromkeys(ranges, "random affine maps have ranges of their own") if self.kind == "affine" else {}
        return idle | ({"left_right_flips": "all axes are mirrored anyway"} if self.flips else {})

    def plane(self, plans: "PlansManager", dimension: int) -> "Plane | None":
        """The plane in which patches are turned and scaled; None for every direction.

        Args:
            plans: name the order of axes.
            dimension: of the patches.

        Raises:
            InputError: the plans do not say which axis counts sagittal slices, or their slices are others.
        """
        if not self.in_plane or self.kind not in ("nnunet", "spatial"):
            return None
        from nnunet_spine.training.ranges import Plane
        from nnunet_spine.training.sagittal import sagittal_axis

        axis = sagittal_axis(plans)
        if dimension == 3:
            return Plane(axis)
        if axis != 0:
            raise InputError(
                "rotation and scaling stay within sagittal slices, and the slices of these plans are others",
                "plan with `nnunet-spine plan --sagittal`, or train 3d_fullres",
            )
        return Plane()

    def densities(
        self, plans: "PlansManager", spacing_mm: Sequence[float], ignore_label: int | None
    ) -> "BasicTransform | None":
        """The transform that redraws densities, if there is one.

        Args:
            spacing_mm: of the patch's axes.
            ignore_label: of the data set, if it has one.

        Raises:
            InputError: the plans do not normalise as CT, so that densities are not known.
        """
        if not self.tissue or self.kind not in ("nnunet", "spatial"):
            return None
        from nnunet_spine.training.ct_ranges import ct_window
        from nnunet_spine.training.tissue import TissueTransform

        return TissueTransform(ct_window(plans), spacing_mm, self.tissue_without, ignore_label)

    def geometry(
        self,
        patch_size: Sequence[int],
        rotation: Sequence[float],
        *,
        dummy_2d: bool,
        plane: "Plane | None" = None,
    ) -> tuple[tuple[float, float], bool, Sequence[int]]:
        """Range of rotation in radians, whether slices are turned in their plane only, and size of the patch to read.

        Args:
            patch_size: that of the network.
            rotation: nnU-Net's range.
            dummy_2d: whether slices of the first axis should turn in their plane only.
            plane: what `plane` gave.
        """
        if self.kind == "none":
            return (0.0, 0.0), False, patch_size
        if self.kind == "affine":
            # along an axis, three standard deviations of factor and shift together are 0.3
            return (0.0, 0.0), False, [math.ceil(1.3 * n) for n in patch_size]
        from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

        limit = min(math.radians(self.rotation_deg), max(rotation))
        if plane is not None:
            turned = [(-limit, limit) if plane.normal in (None, axis) else (0.0, 0.0) for axis in range(3)]
            size = get_patch_size(patch_size, *turned, self.scaling or (0.7, 1.4))
            if plane.normal is not None:  # also keeps the middle between slices, so that none are interpolated
                size[plane.normal] = patch_size[plane.normal]
            return (-limit, limit), False, size
        smallest = 1 / max(self.scaling) if self.scaling else 0.85  # a factor above 1 shrinks
        size = get_patch_size(patch_size, *[(-limit, limit)] * 3, (smallest, 1.25))
        if dummy_2d:
            size[0] = patch_size[0]
        return (-limit, limit), dummy_2d, size

    def noise_sd(self, plans: "PlansManager") -> float:
        """Largest standard deviation of the noise, in units of the network's input.

        Raises:
            InputError: the range of intensities is not known.
        """
        if not self.noise:
            return 0.0
        from nnunet_spine.training.ct_ranges import ct_ranges

        return self.noise * max((high - low) / 2 for low, high in ct_ranges(plans))

    def mirror_axes(self, plans: "PlansManager", dimension: int) -> tuple[int, ...] | None:
        """Axes of a patch that are mirrored in training; None, never an empty tuple, for none."""
        if self.kind == "none":
            return None
        if self.flips:
            return tuple(range(dimension))
        order = list(plans.transpose_forward)[-dimension:]  # of z, y, x; a slice lacks the first
        if self.left_right_flips and 2 in order and plans.plans["image_reader_writer"] in REORIENTING_READERS:
            return (order.index(2),)
        return None

    def transforms(
        self,
        patch_size: Sequence[int],
        mirror_axes: tuple[int, ...] | None,
        plane: "Plane | None",
        of_nnunet: Callable[[], "ComposeTransforms"],
        of_validation: Callable[[], "BasicTransform"],
        densities: "BasicTransform | None" = None,
        noise_sd: float = 0.0,
    ) -> "list[BasicTransform]":
        """Transforms of training patches.

        Args:
            plane: what `plane` gave.
            of_nnunet: makes nnU-Net's own.
            of_validation: makes those without augmentation.
            densities: what `densities` gave.
            noise_sd: what `noise_sd` gave.
        """
        from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform

        from nnunet_spine.training.affine import AffineTransform
        from nnunet_spine.training.ranges import Ranges, adjust

        if self.kind in ("nnunet", "spatial"):
            ranges = Ranges(
                scaling=self.scaling,
                contrast=self.contrast,
                plane=plane,
                always=self.always,
                intensity=self.kind == "nnunet",
                elastic=self.elastic,
                uniform=self.uniform,
                noise_sd=noise_sd,
            )
            transforms = adjust(of_nnunet(), ranges).transforms
            return [*transforms[:1], densities, *transforms[1:]] if densities else transforms
        transforms = [AffineTransform(patch_size)] if self.kind == "affine" else []
        if mirror_axes is not None:
            transforms.append(MirrorTransform(allowed_axes=mirror_axes))
        return [*transforms, of_validation()]
