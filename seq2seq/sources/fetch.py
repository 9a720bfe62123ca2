"""Files of the public data sets: where they are, what they must contain, and how they get here.

Contract: a file is used only if its sha256 is the known one; a download that fails, or brings something else, leaves
nothing behind and touches no other file. It is taken from the user's data folder if one is given,
else from the download cache, else downloaded; both folders have one layout, `RemoteFile.path` below their root.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from seq2seq.run.errors import UserError
from seq2seq.sources.files import open_checked, sha256_of


@dataclass(frozen=True)
class RemoteFile:
    """One file of a public data set.

    Attributes:
        path: its place below the data folder.
        url: its address.
        sha256: hex digest of its bytes.
    """

    path: str
    url: str
    sha256: str


def local_path(file: RemoteFile, data_dir: str | Path | None) -> Path:
    """The file on this machine, verified.

    Args:
        file: what is wanted.
        data_dir: the folder that holds it; None for the download cache.

    Raises:
        UserError: it is missing from the folder, cannot be downloaded, or has the wrong content.
    """
    return _downloaded(file) if data_dir is None else _verified(Path(data_dir) / file.path, file)


def _verified(path: Path, file: RemoteFile) -> Path:
    if not os.path.exists(path):
        raise UserError(f"{path}: no such file; expected --data-dir to be the folder that holds {file.path}")
    digest = sha256_of(path)
    if digest != file.sha256:
        raise UserError(f"{path}: sha256 is {digest}; expected {file.sha256}, the file of {file.url}")
    return path


def _downloaded(file: RemoteFile) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    path = Path(pooch.os_cache("minigrad-seq2seq")) / file.path
    if os.path.exists(path):
        open_checked(path).close()  # no pipe or folder stands in its place
    try:
        return Path(pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=path.name, path=path.parent))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        advice = f"place the file by hand as DIR/{file.path} and give --data-dir DIR"
        raise UserError(f"{file.url}: download failed ({reason}); {advice}") from None
