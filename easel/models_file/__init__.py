"""`models.yaml`, what the files in the models folders can not say about themselves: read, watched, changed."""
