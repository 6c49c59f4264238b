"""Personal data: finding it in text, and putting something else in its place. No model, no torch, no network."""

from danlu.blocks.personal.finding import KINDS, NAMES, Found, Kind, find, find_in, joined
from danlu.blocks.personal.masking import Mask, blacked

__all__ = ["KINDS", "NAMES", "Found", "Kind", "Mask", "blacked", "find", "find_in", "joined"]
