"""Where results that are costly to compute and cheap to compute again are kept between commands."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """`dcgan-twins` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache); it may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcgan-twins"
