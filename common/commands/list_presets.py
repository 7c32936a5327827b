"""`list`: every preset with a phrase, and what its recipe trains; no framework is loaded."""

from dataclasses import dataclass

from common.networks.presets import PRESETS


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """List the presets that --preset takes, each with what it is and how it trains."""


def main(_options: ListOptions, *_context: object) -> int:
    """Print the table; 0."""
    print(f"{'preset':<21}{'pixels':>6}{'batch':>6}{'epochs':>7}  what it is")
    for name, preset in PRESETS.items():
        recipe = preset.recipe
        print(f"{name:<21}{recipe.image_size:>6}{recipe.batch_size:>6}{recipe.epochs:>7}  {preset.phrase}")
    print("\nseed000 to seed004 are earlier systems by other authors, with their recipes.")
    return 0
