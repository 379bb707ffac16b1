"""Pictures that strangers give us: told by their header, opened in a child process, made clean."""
