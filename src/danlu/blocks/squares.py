"""A picture as squares: counted row by row, filled up with zeros at the right and below. Only numpy."""

from __future__ import annotations

from typing import Any

import numpy as np


def grid(height: int, width: int, side: int) -> tuple[int, int]:
    """How many squares lie below one another, and beside one another."""
    return -(-height // side), -(-width // side)


def cut(values: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """The squares [places, channels · side²] of a picture [channels, h, w]."""
    channels, height, width = values.shape
    rows, columns = grid(height, width, side)
    whole = np.pad(values, ((0, 0), (0, rows * side - height), (0, columns * side - width)))
    parts = whole.reshape(channels, rows, side, columns, side).transpose(1, 3, 0, 2, 4)
    return parts.reshape(rows * columns, channels * side**2)


def joined(squares: np.ndarray[Any, Any], shape: tuple[int, int, int], side: int) -> np.ndarray[Any, Any]:
    """The picture [channels, h, w] of its squares: the inverse of `cut`."""
    channels, height, width = shape
    rows, columns = grid(height, width, side)
    parts = squares.reshape(rows, columns, channels, side, side).transpose(2, 0, 3, 1, 4)
    return parts.reshape(channels, rows * side, columns * side)[:, :height, :width]
