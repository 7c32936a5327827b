"""Everything that there is to measure on a GPU, in nine minutes and one JSON: `python -m comparison.bench.gpu`."""
