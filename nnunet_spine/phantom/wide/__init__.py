"""Phantoms so varied that a real scan is one more variation: what `domain="wide"` adds to the drawing.

Every range is wider than what patients show (domain randomisation, Tobin et al., IROS 2017; Billot et al., Medical
Image Analysis 2023), so that a network cannot rely on the look of anything but the spine's shape. The ranges are ours.
"""
