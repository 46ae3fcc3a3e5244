"""Figures and the page: what a person looks at."""
