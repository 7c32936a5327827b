"""XLA without its optimisation on a CPU: several times faster to compile, for programs that run a few times."""

OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
JAXLIB = "0.10."  # another version may not know the options, and an unknown one ends the process
# As XLA_FLAGS, of a process that does nothing else; each program is compiled in one piece, for a core has one process.
FLAGS = (
    " ".join(f"--{name}={str(value).lower()}" for name, value in OPTIONS.items())
    + " --xla_cpu_parallel_codegen_split_count=1"
)
