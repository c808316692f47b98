"""From label maps to bones: one instance per vertebra, whatever names or labels its voxels carry."""

from nnunet_spine.instances.bones import Bone, Bones, find_bones
from nnunet_spine.instances.quality import InstanceQuality, compare_instances

__all__ = ["Bone", "Bones", "InstanceQuality", "compare_instances", "find_bones"]
