"""Where what can be made again is kept."""

import os
from pathlib import Path


def cache_dir() -> Path | None:
    """`dcgan-twins` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache); it may be deleted at any time.

    None where there is no such folder: a container's user may have no name and no home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcgan-twins"
    except RuntimeError:
        return None
