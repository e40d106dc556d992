"""What services, workflows and workers agree on; loads neither a provider nor anything that does I/O."""
