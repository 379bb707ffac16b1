"""Checkpoints: loading them from the disk without the hub, and keeping them warm."""
