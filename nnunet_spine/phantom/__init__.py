"""Synthetic CT scans of spines with exact labels, for tests, demonstrations and as training material."""

from nnunet_spine.phantom.draw import Phantom, draw_phantom
from nnunet_spine.phantom.options import PLAIN, PhantomOptions
from nnunet_spine.phantom.tree import TreeOptions, write_tree

__all__ = ["PLAIN", "Phantom", "PhantomOptions", "TreeOptions", "draw_phantom", "write_tree"]
