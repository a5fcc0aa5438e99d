"""Greedy merging of a graph's nodes along sorted edges, compiled: the inside of `supervoxels`.

Source: Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation" (IJCV 2004).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dpcenet.system.compiled import compiled

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Edges = npt.NDArray[np.uint32]
Steps = npt.NDArray[np.int64]
Node = int | np.int64


@compiled
def stable_order(costs: Floats) -> Edges:
    """Indices (E,) that sort non-negative costs (E,), equal ones by index: a radix sort.

    E is below 2³², which 330 million voxels reach. The bits of non-negative floats order as the
    floats do. `np.argsort(kind="stable")` gives the same order, several times slower.
    """
    keys = costs.view(np.uint32)
    order = np.arange(len(keys)).astype(np.uint32)
    for shift in (np.uint32(0), np.uint32(16)):
        place = np.zeros((1 << 16) + 1, np.int64)  # where the next key of each digit goes
        for key in keys:
            place[((key >> shift) & np.uint32(0xFFFF)) + 1] += 1
        place = np.cumsum(place)
        ordered = np.empty_like(order)
        for edge in order:
            digit = (keys[edge] >> shift) & np.uint32(0xFFFF)
            ordered[place[digit]] = edge
            place[digit] += 1
        order = ordered
    return order


@compiled
def find_root(parents: Ids, node: Node) -> Node:
    """Root of the tree that `node` is in; halves the path on the way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled
def end_roots(parents: Ids, edge: np.uint32, steps: Steps) -> tuple[Node, Node]:
    """Roots of the two voxels that an edge joins."""
    voxels = np.uint32(len(parents))  # a division of 32 bits is much faster than one of 64
    node = np.int64(edge % voxels)
    return find_root(parents, node), find_root(parents, node + steps[np.int64(edge // voxels)])


@compiled
def join(parents: Ids, sizes: Ids, a: Node, b: Node, min_size: int) -> int:
    """Merge the trees of the roots a and b under the lower; returns how many fewer are small."""
    a, b = min(a, b), max(a, b)
    small_before = int(sizes[a] < min_size) + int(sizes[b] < min_size)
    parents[b] = a
    sizes[a] += sizes[b]
    return small_before - int(sizes[a] < min_size)


@compiled
def merge(
    costs: Floats,
    order: Edges,
    steps: Steps,
    scale: float,
    min_size: int,
) -> Ids:
    """Root, that is first voxel, of the segment of each voxel.

    Args:
        costs: (13·V,) float32, edge e goes from voxel e % V along direction e // V.
        order: (E,) uint32, the edges inside the volume by growing cost.
        steps: (13,) int64, DIRECTIONS as differences of the flat voxel index.
        scale: a segment of n voxels may grow across an edge of cost below internal + scale / n.
        min_size: smaller segments are merged afterwards.

    Returns:
        (V,) int32.
    """
    voxels = len(costs) // len(steps)
    parents = np.arange(voxels).astype(np.int32)
    sizes = np.ones(voxels, np.int32)
    internal = np.zeros(voxels, np.float32)
    latest = np.float32(0)
    small = voxels if min_size > 1 else 0
    for edge in order:
        cost = costs[edge]
        if cost >= latest + scale:  # no segment's limit is higher, now or later
            break
        a, b = end_roots(parents, edge, steps)
        if a != b and cost < min(internal[a] + scale / sizes[a], internal[b] + scale / sizes[b]):
            small -= join(parents, sizes, a, b, min_size)
            internal[min(a, b)] = latest = cost
    for edge in order:
        if small == 0:
            break
        a, b = end_roots(parents, edge, steps)
        if a != b and (sizes[a] < min_size or sizes[b] < min_size):
            small -= join(parents, sizes, a, b, min_size)
    for voxel in range(voxels):
        parents[voxel] = find_root(parents, voxel)
    return parents
