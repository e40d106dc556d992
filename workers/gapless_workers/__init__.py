"""Wiring: the only place that knows workflows, activities and settings at once."""
