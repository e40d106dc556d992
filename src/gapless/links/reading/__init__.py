"""How what an agent wrote is read: addresses, words, JSON and lines."""
