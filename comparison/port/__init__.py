"""Any PyTorch module and any Flax module held side by side: docs/how-to/port-a-model.md."""
