"""The workflows: they decide when; activities touch the world."""
