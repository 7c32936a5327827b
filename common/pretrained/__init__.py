"""The model that comes with the project, in half precision, and what it scores (scripts/make_pretrained.py)."""
