"""Pictures that a PDF holds in strips or tiles, as one."""

from __future__ import annotations

from metaembed_demo.core.types import Box


def joined(boxes: list[Box]) -> list[Box]:
    """Merge boxes that are strips or tiles of one image: adjacent and aligned.

    >>> joined([(0.1, 0.1, 0.9, 0.3), (0.1, 0.3, 0.9, 0.5), (0.1, 0.7, 0.9, 0.8)])
    [(0.1, 0.1, 0.9, 0.5), (0.1, 0.7, 0.9, 0.8)]
    """
    found: list[Box] = []
    for box in sorted(set(boxes), key=lambda b: (b[1], b[0])):
        while (other := next((b for b in found if _one_picture(b, box)), None)) is not None:
            found.remove(other)
            box = (*map(min, other[:2], box[:2]), *map(max, other[2:], box[2:]))  # type: ignore[assignment]
        found.append(box)
    return sorted(found, key=lambda b: (b[1], b[0]))


def _one_picture(a: Box, b: Box, near: float = 0.004) -> bool:
    x_apart = max(a[0], b[0]) - min(a[2], b[2])
    y_apart = max(a[1], b[1]) - min(a[3], b[3])
    same_x = abs(a[0] - b[0]) < near and abs(a[2] - b[2]) < near
    same_y = abs(a[1] - b[1]) < near and abs(a[3] - b[3]) < near
    nested = x_apart <= -0.9 * min(a[2] - a[0], b[2] - b[0]) and y_apart <= -0.9 * min(
        a[3] - a[1], b[3] - b[1]
    )
    return nested or (same_x and abs(y_apart) < near) or (same_y and abs(x_apart) < near)
