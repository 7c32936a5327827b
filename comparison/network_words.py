"""A network in words: its layers in one line, how it enlarges its maps, and where it normalises."""

from collections.abc import Sequence
from itertools import groupby

from common.layers import Architecture, BatchNorm, Conv, ConvTranspose, LayerSpec, LeakyReLU, Linear, ReLU, Tanh


def layers(specs: Sequence[LayerSpec]) -> str:
    """A network in one line: `ConvT 100-512 k4 s1 p0 + BN + ReLU`, layers that follow suit written once."""
    blocks: list[tuple[str, list[str]]] = []  # what a block does, and the channels it goes through
    for spec in specs:
        match spec:
            case Conv() | ConvTranspose():
                kind = "ConvT" if isinstance(spec, ConvTranspose) else "Conv"
                bias = " with bias" if spec.bias else ""
                shape = f"k{spec.kernel_size} s{spec.stride} p{spec.padding}{bias}"
                blocks.append((f"{kind} {{}} {shape}", [str(spec.in_channels), str(spec.out_channels)]))
            case Linear():
                ends = [(spec.in_channels, spec.in_size), (spec.out_channels, spec.out_size)]
                blocks.append(("Linear {}", [str(c) if size == 1 else f"{c}·{size}·{size}" for c, size in ends]))
            case BatchNorm() | LeakyReLU() | ReLU() | Tanh():
                name = {"BatchNorm": "BN", "LeakyReLU": "LReLU", "Tanh": "tanh"}.get(type(spec).__name__, "ReLU")
                blocks[-1] = (f"{blocks[-1][0]} + {name}", blocks[-1][1])
    lines = []
    for shape, group in groupby(blocks, key=lambda block: block[0]):
        first, *others = (channels for _, channels in group)
        lines.append(shape.format("-".join([*first, *(channels[-1] for channels in others)])))
    return "; ".join(lines)


def upsampling(specs: Sequence[LayerSpec]) -> str:
    """The sides of the maps that a generator goes through, and what makes them larger."""
    sizes, kinds = [1], []
    for spec in specs:
        match spec:
            case ConvTranspose():
                size = (sizes[-1] - 1) * spec.stride - 2 * spec.padding + spec.kernel_size
                kind = "transposed convolutions"
            case Linear():
                size, kind = spec.out_size, "one Linear layer"
            case _:
                continue
        if size != sizes[-1]:
            sizes.append(size)
            kinds.append(kind)
    return f"{' to '.join(map(str, sizes))} px, by {' and '.join(dict.fromkeys(kinds))}"


def normalisation(architecture: Architecture) -> str:
    """How many of each network's weighted layers a BatchNorm follows."""
    found = []
    for specs in (architecture.generator, architecture.discriminator):
        num_weighted = sum(isinstance(spec, Conv | ConvTranspose | Linear) for spec in specs)
        found.append(f"{sum(isinstance(spec, BatchNorm) for spec in specs)} of {num_weighted}")
    return f"BatchNorm after {' / '.join(found)} layers"
