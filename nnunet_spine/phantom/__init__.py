"""Synthetic CT scans of spines with exact labels, for tests, demonstrations and as training material."""

from nnunet_spine.phantom.draw import Phantom, draw_phantom
from nnunet_spine.phantom.options import PLAIN, PhantomOptions

__all__ = ["PLAIN", "Phantom", "PhantomOptions", "draw_phantom"]
