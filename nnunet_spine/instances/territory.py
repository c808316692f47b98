"""Whose territory a voxel is: the bone core with the shortest way through the mask.

A way is longer where the mask is thin, and each step from one name to another adds a few millimetres: within a bone of
one name the way runs through the pedicle, not over the facet joints to the neighbour; a half that carries a wrong name
is reached over its broad cut sooner than over a joint.
"""

import edt
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

_THIN_MM = 6.0
_OTHER_NAME_MM = 10.0


def territories(pieces: np.ndarray, cores: np.ndarray, step_mm: float) -> np.ndarray:
    """Core with the shortest way to each voxel of a mask.

    Args:
        pieces: piece of each voxel (one name each), 0 background, isotropic.
        cores: core of each voxel, 0 none; only those inside the mask count.
        step_mm: side of a voxel.

    Returns:
        Core numbers, 0 in the background and where no way leads.
    """
    out = np.zeros(pieces.shape, np.int32)
    seeds = np.flatnonzero((cores > 0) & (pieces > 0))
    if not seeds.size:
        return out
    nodes = np.flatnonzero(pieces)
    number = np.full(pieces.size, -1, np.int32)
    number[nodes] = np.arange(len(nodes), dtype=np.int32)
    number = number.reshape(pieces.shape)
    depth = edt.edt(np.asfortranarray(pieces > 0), anisotropy=(step_mm,) * 3, parallel=1)
    rows, columns, costs = [], [], []
    for axis in range(3):
        ahead, behind = (tuple(slice(1, None) if a == axis else slice(None) for a in range(3)),
                         tuple(slice(None, -1) if a == axis else slice(None) for a in range(3)))  # fmt: skip
        joined = (pieces[ahead] > 0) & (pieces[behind] > 0)
        thin = np.minimum(depth[ahead][joined], depth[behind][joined])
        renamed = pieces[ahead][joined] != pieces[behind][joined]
        rows.append(number[behind][joined])
        columns.append(number[ahead][joined])
        costs.append(step_mm * (1 + _THIN_MM / np.maximum(thin, step_mm)) + _OTHER_NAME_MM * renamed)
    shape = (len(nodes), len(nodes))
    graph = sparse.csr_matrix((np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    _, _, source = csgraph.dijkstra(
        graph, directed=False, indices=number.ravel()[seeds], min_only=True, return_predecessors=True
    )
    reached = source >= 0
    core_of = cores.ravel()[nodes]
    out.ravel()[nodes[reached]] = core_of[source[reached]]
    return out
