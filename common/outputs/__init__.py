"""What a checkpoint can show: samples, paths between digits, arithmetic, progress, and what D's filters see.

Each module is a command of `python -m torch_impl` and `python -m jax_impl`.
"""
