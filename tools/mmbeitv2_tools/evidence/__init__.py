"""The study of docs/evidence.md."""
