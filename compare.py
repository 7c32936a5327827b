"""Compare PyTorch and JAX: `python compare.py --epochs 10` trains the same DCGAN in both and writes one report."""

import sys

from comparison.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
