"""On which kind of file system a path lies, and which kinds are no place for a store."""

from pathlib import Path
from typing import Final, NamedTuple

TABLE: Final = Path("/proc/mounts")

_NETWORK: Final = (
    "9p afs beegfs ceph cifs davfs fuse.ceph fuse.davfs2 fuse.gcsfuse fuse.glusterfs fuse.rclone fuse.s3fs fuse.sshfs "
    "glusterfs gpfs lustre nfs nfs4 orangefs pvfs2 smb3 smbfs virtiofs"
)


class Unfit(NamedTuple):
    """Why a store should not lie there, and what to do."""

    why: str
    hint: str


UNFIT: Final = {
    **dict.fromkeys(
        _NETWORK.split(),
        Unfit(
            "a network file system: locks and syncs may not hold", "move the data directory to a local disk"
        ),
    ),
    **dict.fromkeys(
        ("tmpfs", "ramfs"),
        Unfit("in memory: gone with the machine's power", "move the data directory to a disk"),
    ),
    "overlay": Unfit(
        "a container's own layer: gone with the container", "mount a volume for the data directory"
    ),
}
"""Types of file systems, as the kernel names them, that a store should not lie on."""


def kind_of(path: Path, table: str) -> str | None:
    """Return the type of the file system that holds an absolute path without links, by the kernel's table of mounts."""
    best, kind = "", None
    for line in table.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = _plain(words[1])
        # A later mount on the same point hides the one before.
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= len(best):
            best, kind = point, words[2]
    return kind


def _plain(point: str) -> str:
    """Return a mount point without the table's escapes for space, tab, newline and backslash."""
    for escape, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(escape, sign)
    return point
