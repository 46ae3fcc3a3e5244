"""Tests and estimates that few patients allow."""
