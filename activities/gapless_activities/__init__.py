"""The activities: everything that touches the world."""
