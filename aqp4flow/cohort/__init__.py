"""Titers -> patients over time."""
