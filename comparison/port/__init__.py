"""Any PyTorch module and any Flax module held side by side: docs/port-a-model.md."""
