"""Dilution curves: models, one least-squares objective, strays."""
