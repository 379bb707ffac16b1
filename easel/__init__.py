"""What the chat side and the painting side must read alike: jobs, catalog, queue, settings, errors."""
