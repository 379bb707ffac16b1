"""From a filled form to requests: words, flags, pictures and pasted settings become what the queue carries."""
