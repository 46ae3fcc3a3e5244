"""Tests and estimates for a few patients followed over time."""
