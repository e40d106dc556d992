"""Adapters to providers; each is loaded when it is asked for."""
