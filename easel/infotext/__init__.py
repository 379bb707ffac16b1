"""The community's "parameters" text: written into pictures, read back out of them, turned into a request."""
