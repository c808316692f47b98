"""Reference surfaces in files: triangle meshes as STL or PLY, binary or text."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.errors import InputError

ENDINGS = (".stl", ".ply")
_SPACE = re.compile(rb"SPACE\s*=\s*(RAS|LPS)\b", re.IGNORECASE)
_HEADER = 1024  # bytes in which a file may name its frame


@dataclass(frozen=True)
class Surface:
    """A triangle mesh as it lies in a file.

    Attributes:
        path: the file.
        vertices: (n, 3) float64 in the file's own frame; mm are assumed.
        faces: vertex numbers, (m, 3), counter-clockwise seen from outside.
        declared_frame: "ras" or "lps" where the header says so, as 3D Slicer writes it; "" otherwise.
        open_edges: edges with one face only; 0 for a closed surface.
    """

    path: Path
    vertices: np.ndarray
    faces: np.ndarray
    declared_frame: str = ""
    open_edges: int = 0


def require_libraries() -> None:
    """Check that what reads and measures surfaces is installed; it is an extra of the package.

    Raises:
        InputError: it is not.

    Example:
        >>> require_libraries()
    """
    try:
        import networkx  # noqa: F401  trimesh needs it to find out where outside is
        import rtree  # noqa: F401  and this to find the nearest triangle
        import trimesh  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"surfaces need {error.name}, which is not installed", "run pip install 'nnunet-spine[surfaces]'"
        ) from error


def read_surface(path: str | Path) -> Surface:
    """Read a surface; the content says what kind of file it is, not the name.

    Equal vertices become one (STL repeats them for each triangle), faces without area go, and faces that look inwards
    are turned.

    Raises:
        InputError: trimesh is not installed, or the file is missing, of another kind, damaged or without triangles.

    Example:
        >>> import tempfile
        >>> import trimesh
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "box.stl"
        ...     _ = trimesh.creation.box(extents=(10, 20, 30)).export(path)
        ...     len(read_surface(path).faces)
        12
    """
    require_libraries()
    import trimesh

    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", "check the path", path) from error
    kind = "ply" if content[:4].rstrip() == b"ply" else "stl"
    if kind == "stl" and not _is_stl(content):
        raise InputError("neither STL nor PLY, or truncated", "export the surface again as STL or PLY", path)
    try:
        plain = _without_comments(content) if kind == "ply" else content
        mesh = trimesh.load_mesh(io.BytesIO(plain), file_type=kind)
    except Exception as error:  # what its parsers raise on damaged files is of any kind
        raise InputError(f"not readable as {kind.upper()} ({error})", "export the surface again", path) from error
    faces = getattr(mesh, "faces", None)
    if faces is None or not len(faces):
        raise InputError("no triangles", "export a surface, not points", path)
    if not np.isfinite(mesh.vertices).all():
        raise InputError("vertices that are no finite numbers", "export the surface again", path)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    mesh.update_faces(mesh.nondegenerate_faces())
    if not len(mesh.faces):
        raise InputError("only triangles without area", "export the surface again", path)
    mesh.remove_unreferenced_vertices()
    if not mesh.is_winding_consistent:
        mesh.fix_normals()
    elif _volume(mesh.triangles) < 0:  # of all shells together: those around cavities look inwards, and rightly
        mesh.invert()
    _, count = np.unique(np.sort(mesh.edges, axis=1), axis=0, return_counts=True)
    return Surface(
        path,
        np.array(mesh.vertices, float),
        np.array(mesh.faces, np.int64),
        _declared(content, kind),
        int((count == 1).sum()),
    )


def _volume(triangles: np.ndarray) -> float:
    """Signed volume behind triangles (m, 3, 3), seen from their middle, so that holes matter little."""
    a, b, c = np.moveaxis(triangles - triangles.mean((0, 1)), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _is_stl(content: bytes) -> bool:
    if len(content) >= 84 and len(content) == 84 + 50 * int.from_bytes(content[80:84], "little"):
        return True
    return content[:512].lstrip().lower().startswith(b"solid") and b"endsolid" in content[-4096:].lower()


def _without_comments(content: bytes) -> bytes:
    """A PLY file whose header has no comments, which trimesh stumbles over before the line of the format."""
    header, end, body = content.partition(b"end_header")
    lines = [
        line for line in header.splitlines(keepends=True) if not line.lower().startswith((b"comment", b"obj_info"))
    ]
    return b"".join(lines) + end + body


def _declared(content: bytes, kind: str) -> str:
    header = content[:_HEADER]
    if kind == "ply":
        header = header.split(b"end_header")[0]
    elif len(content) == 84 + 50 * int.from_bytes(content[80:84], "little"):
        header = header[:80]
    else:
        header = header.split(b"facet")[0]
    found = _SPACE.search(header)
    return found[1].decode().lower() if found else ""
